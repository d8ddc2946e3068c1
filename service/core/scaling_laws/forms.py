"""The mathematical shapes that scaling laws come in, one small class a shape.

Units throughout: parameters N and training tokens D as counts, training compute C in FLOPs, loss L
in nats a token. Every method takes plain floats or numpy arrays. What N counts (with or without
embeddings) is the law's matter, not the form's: see `law.Law.parameters_kind`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.core.numeric import FloatArray, Number, exp, log, maximum, where

FLOPS_PER_PARAMETER_TOKEN = 6.0
"""Training FLOPs for each parameter and token: forward 2, backward 4 (Kaplan 2020, section 2.1)."""

PETAFLOP_DAY = 8.64e19
"""FLOPs in a petaFLOP/s-day, the unit of Kaplan 2020."""

INFINITE = float("inf")


class Form(Protocol):
    """What every law can answer. A loss of None means that the law has none to give."""

    def optimum(self, flops: Number) -> tuple[Number, Number]:
        """The parameters and tokens that use a budget best."""

    def flops_for_parameters(self, parameters: Number) -> Number:
        """The budget for which this many parameters are optimal."""

    def flops_for_tokens(self, tokens: Number) -> Number:
        """The budget for which this many tokens are optimal."""

    def frontier_loss(self, flops: Number) -> Number | None:
        """The loss at the optimum of a budget."""

    def loss(self, parameters: Number, tokens: Number) -> Number | None:
        """The loss of any model and token count."""


@dataclass(frozen=True, slots=True)
class Additive:
    """L = E + A / N^alpha + B / D^beta with C = 6 N D (Hoffmann 2022, equation 10).

    The constants may be arrays, one entry a bootstrap refit.
    """

    irreducible: Number
    parameter_coefficient: Number
    token_coefficient: Number
    parameter_exponent: Number
    token_exponent: Number

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """Loss in nats a token."""
        return (
            self.irreducible
            + self.parameter_coefficient * parameters**-self.parameter_exponent
            + self.token_coefficient * tokens**-self.token_exponent
        )

    def balance(self) -> Number:
        """G of Hoffmann 2022, equation 4: (alpha A / beta B)^(1 / (alpha + beta))."""
        ratio = (self.parameter_exponent * self.parameter_coefficient) / (
            self.token_exponent * self.token_coefficient
        )
        return ratio ** (1.0 / (self.parameter_exponent + self.token_exponent))

    def optimum(self, flops: Number) -> tuple[Number, Number]:
        """Hoffmann 2022, equation 4: N = G (C/6)^(beta / (alpha + beta)), D = C / 6N."""
        share = self.token_exponent / (self.parameter_exponent + self.token_exponent)
        product = flops / FLOPS_PER_PARAMETER_TOKEN
        parameters = self.balance() * product**share
        return parameters, product / parameters

    def flops_for_parameters(self, parameters: Number) -> Number:
        """The budget of which `parameters` is the optimum."""
        inverse = (self.parameter_exponent + self.token_exponent) / self.token_exponent
        return FLOPS_PER_PARAMETER_TOKEN * (parameters / self.balance()) ** inverse

    def flops_for_tokens(self, tokens: Number) -> Number:
        """The budget of which `tokens` is the optimum."""
        inverse = (self.parameter_exponent + self.token_exponent) / self.parameter_exponent
        return FLOPS_PER_PARAMETER_TOKEN * (tokens * self.balance()) ** inverse

    def frontier_loss(self, flops: Number) -> Number:
        """The least loss that a budget can reach."""
        return self.loss(*self.optimum(flops))

    def optimum_for_loss(self, loss: Number) -> tuple[Number, Number]:
        """The cheapest N and D that reach a loss; infinite at or below the irreducible loss.

        At the optimum alpha A N^-alpha = beta B D^-beta, so each term is a fixed share of the
        reducible loss.
        """
        total = self.parameter_exponent + self.token_exponent
        reducible = loss - self.irreducible
        safe = maximum(reducible, 1e-300)
        parameters = self._power_or_infinite(
            self.parameter_coefficient * total / (self.token_exponent * safe),
            self.parameter_exponent,
            reducible,
        )
        tokens = self._power_or_infinite(
            self.token_coefficient * total / (self.parameter_exponent * safe),
            self.token_exponent,
            reducible,
        )
        return parameters, tokens

    def flops_for_loss(self, loss: Number) -> Number:
        """The smallest budget that reaches a loss; infinite where none does."""
        parameters, tokens = self.optimum_for_loss(loss)
        return FLOPS_PER_PARAMETER_TOKEN * parameters * tokens

    def tokens_for(self, parameters: Number, loss: Number) -> Number:
        """The tokens with which a model of this size reaches a loss; infinite where none do."""
        spent = self.parameter_coefficient * parameters**-self.parameter_exponent
        reducible = loss - self.irreducible - spent
        safe = maximum(reducible, 1e-300)
        return self._power_or_infinite(
            self.token_coefficient / safe, self.token_exponent, reducible
        )

    def parameters_for(self, tokens: Number, loss: Number) -> Number:
        """The size with which this many tokens reach a loss; infinite where none does."""
        spent = self.token_coefficient * tokens**-self.token_exponent
        reducible = loss - self.irreducible - spent
        safe = maximum(reducible, 1e-300)
        return self._power_or_infinite(
            self.parameter_coefficient / safe, self.parameter_exponent, reducible
        )

    @staticmethod
    def _power_or_infinite(base: Number, exponent: Number, reducible: Number) -> Number:
        reachable = reducible > 0.0
        return where(reachable, where(reachable, base, 1.0) ** (1.0 / exponent), INFINITE)


@dataclass(frozen=True, slots=True)
class PowerFrontier:
    """N = n C^a and D = d C^b: a law of the optimum that says nothing of the loss."""

    parameter_coefficient: float
    parameter_power: float
    token_coefficient: float
    token_power: float

    @classmethod
    def of_parameters(cls, coefficient: float, power: float) -> PowerFrontier:
        """From N = k C^a; the tokens follow from C = 6 N D."""
        other = 1.0 / (FLOPS_PER_PARAMETER_TOKEN * coefficient)
        return cls(coefficient, power, other, 1.0 - power)

    @classmethod
    def of_tokens(cls, coefficient: float, power: float) -> PowerFrontier:
        """From D = k C^b; the parameters follow from C = 6 N D."""
        other = 1.0 / (FLOPS_PER_PARAMETER_TOKEN * coefficient)
        return cls(other, 1.0 - power, coefficient, power)

    @classmethod
    def through(cls, flops: float, parameters: float, power: float) -> PowerFrontier:
        """From the exponent of N and one point of the line."""
        return cls.of_parameters(parameters / flops**power, power)

    def optimum(self, flops: Number) -> tuple[Number, Number]:
        """Both power laws at a budget."""
        return (
            self.parameter_coefficient * flops**self.parameter_power,
            self.token_coefficient * flops**self.token_power,
        )

    def flops_for_parameters(self, parameters: Number) -> Number:
        """The budget of which `parameters` is the optimum."""
        return (parameters / self.parameter_coefficient) ** (1.0 / self.parameter_power)

    def flops_for_tokens(self, tokens: Number) -> Number:
        """The budget of which `tokens` is the optimum."""
        return (tokens / self.token_coefficient) ** (1.0 / self.token_power)

    def frontier_loss(self, flops: Number) -> Number | None:
        """None: the law gives no loss."""
        return None

    def loss(self, parameters: Number, tokens: Number) -> Number | None:
        """None: the law gives no loss."""
        return None


@dataclass(frozen=True, slots=True)
class KaplanFrontier:
    """Kaplan 2020: a power law for the optimum, one for its loss, and a joint law for any N, D.

    N is without embeddings. The joint law has its own set of constants (table 2 of the paper) and
    does not agree exactly with L(C): the paper fitted them apart.
    """

    line: PowerFrontier
    loss_scale_flops: float
    loss_power: float
    parameter_scale: float
    token_scale: float
    parameter_power: float
    token_power: float

    def optimum(self, flops: Number) -> tuple[Number, Number]:
        """N = 1.3e9 (C in PF-days)^0.73, D = C / 6N."""
        return self.line.optimum(flops)

    def flops_for_parameters(self, parameters: Number) -> Number:
        """The budget of which `parameters` is the optimum."""
        return self.line.flops_for_parameters(parameters)

    def flops_for_tokens(self, tokens: Number) -> Number:
        """The budget of which `tokens` is the optimum."""
        return self.line.flops_for_tokens(tokens)

    def frontier_loss(self, flops: Number) -> Number:
        """L(C_min) = (C_c / C_min)^0.050, equation 1.3."""
        return (self.loss_scale_flops / flops) ** self.loss_power

    def flops_for_loss(self, loss: Number) -> Number:
        """L(C_min) solved for the budget."""
        return self.loss_scale_flops * loss ** (-1.0 / self.loss_power)

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """L(N, D) = [(N_c / N)^(a_N / a_D) + D_c / D]^a_D, equation 1.5."""
        size = (self.parameter_scale / parameters) ** (self.parameter_power / self.token_power)
        return (size + self.token_scale / tokens) ** self.token_power


@dataclass(frozen=True, slots=True)
class TabulatedFrontier:
    """A published table of optimal sizes and budgets, read between its rows by power laws.

    Straight lines in the logarithms join the rows, so every row comes out as printed; outside the
    table the fitted power continues.
    """

    flops: tuple[float, ...]
    parameters: tuple[float, ...]
    power: float

    def optimum(self, flops: Number) -> tuple[Number, Number]:
        """The table's N for a budget, and D = C / 6N."""
        parameters = interpolate_powers(flops, self.flops, self.parameters, self.power)
        return parameters, flops / (FLOPS_PER_PARAMETER_TOKEN * parameters)

    def flops_for_parameters(self, parameters: Number) -> Number:
        """The table's budget for a size."""
        return interpolate_powers(parameters, self.parameters, self.flops, 1.0 / self.power)

    def flops_for_tokens(self, tokens: Number) -> Number:
        """The budget of which `tokens` is the optimum."""
        column = tuple(
            c / (FLOPS_PER_PARAMETER_TOKEN * n)
            for c, n in zip(self.flops, self.parameters, strict=True)
        )
        return interpolate_powers(tokens, column, self.flops, 1.0 / (1.0 - self.power))

    def frontier_loss(self, flops: Number) -> Number | None:
        """None: the table gives no loss."""
        return None

    def loss(self, parameters: Number, tokens: Number) -> Number | None:
        """None: the table gives no loss."""
        return None


def interpolate_powers(
    x: Number, xs: tuple[float, ...], ys: tuple[float, ...], end_power: float
) -> Number:
    """y(x) through rising positive points, linear in the logarithms; `end_power` outside them."""
    if isinstance(x, np.ndarray):
        log_xs, log_ys = np.log(xs), np.log(ys)
        log_x = np.log(x)
        inside: FloatArray = np.interp(log_x, log_xs, log_ys)
        outside = np.minimum(log_x - log_xs[0], 0.0) + np.maximum(log_x - log_xs[-1], 0.0)
        return np.exp(inside + end_power * outside)
    if x <= xs[0]:
        return ys[0] * (x / xs[0]) ** end_power
    if x >= xs[-1]:
        return ys[-1] * (x / xs[-1]) ** end_power
    row = bisect_right(xs, x)
    share = log(x / xs[row - 1]) / log(xs[row] / xs[row - 1])
    return ys[row - 1] * exp(share * log(ys[row] / ys[row - 1]))
