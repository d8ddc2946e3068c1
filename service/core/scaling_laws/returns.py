"""Diminishing returns, the flat basin round an optimum, and the curves for plotting.

All of it needs a loss, so a law of the form E + A/N^alpha + B/D^beta: others raise LawError.
Losses are relative: they belong to the law's data and tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.core.numeric import FloatArray, Number, exp, where
from service.core.scaling_laws.forms import INFINITE, Additive
from service.core.scaling_laws.law import Law
from service.core.scaling_laws.laws import DEFAULT_LAW, find_law
from service.core.scaling_laws.optimum import training_flops

BASIN_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""Sizes, as multiples of the optimal one, at which the basin is shown."""

Spend = Callable[[Number, Number], Number]
"""What training N parameters on D tokens uses up, in the budget's own unit."""


@dataclass(frozen=True, slots=True)
class BasinPoint:
    """A size beside the optimal one.

    tokens and overhead: what reaches the optimum's loss at this size, and the compute that costs
    above the optimum's, as a fraction; both infinite where the size cannot reach it.
    loss_increase: loss above the optimum's when this size is given the same compute instead.
    """

    size_factor: float
    parameters: Number
    tokens: Number
    token_factor: Number
    overhead: Number
    loss_increase: Number


def size_overhead(size_factor: Number, law: str | Law = DEFAULT_LAW) -> tuple[Number, Number]:
    """(token factor, extra compute as a fraction) of a size k times the optimum, at equal loss.

    At the optimum alpha A N^-alpha = beta B D^-beta, so the token factor is
    (1 - (k^-alpha - 1) beta / alpha)^(-1 / beta) whatever the budget (after de Vries 2023).
    """
    form = find_law(law).additive
    weight = form.token_exponent / form.parameter_exponent
    left = 1.0 - (size_factor**-form.parameter_exponent - 1.0) * weight
    possible = left > 0.0
    safe = where(possible, left, 1.0)
    token_factor = where(possible, safe ** (-1.0 / form.token_exponent), INFINITE)
    return token_factor, size_factor * token_factor - 1.0


def basin(
    flops: Number,
    law: str | Law = DEFAULT_LAW,
    size_factors: tuple[float, ...] = BASIN_FACTORS,
) -> tuple[BasinPoint, ...]:
    """What other sizes than the optimal one cost: compute at equal loss, loss at equal compute."""
    form = find_law(law).additive
    return tuple(_basin_point(form, find_law(law), flops, factor) for factor in size_factors)


def _basin_point(form: Additive, law: Law, flops: Number, factor: float) -> BasinPoint:
    parameters, tokens = form.optimum(flops)
    token_factor, overhead = size_overhead(factor, law)
    same_compute = form.loss(parameters * factor, tokens / factor)
    return BasinPoint(
        size_factor=factor,
        parameters=parameters * factor,
        tokens=tokens * token_factor,
        token_factor=token_factor,
        overhead=overhead,
        loss_increase=same_compute - form.loss(parameters, tokens),
    )


@dataclass(frozen=True, slots=True)
class Marginal:
    """The loss, in nats a token, that a doubling takes away at a point."""

    loss: Number
    doubling_parameters: Number
    doubling_tokens: Number
    doubling_compute: Number


def marginal(parameters: Number, tokens: Number, law: str | Law = DEFAULT_LAW) -> Marginal:
    """What twice the size, twice the tokens or twice the compute would take off the loss.

    Doubled compute is split between N and D as the law's optimum grows.
    """
    form = find_law(law).additive
    share = form.token_exponent / (form.parameter_exponent + form.token_exponent)
    loss = form.loss(parameters, tokens)
    both = form.loss(parameters * 2.0**share, tokens * 2.0 ** (1.0 - share))
    return Marginal(
        loss=loss,
        doubling_parameters=loss - form.loss(2.0 * parameters, tokens),
        doubling_tokens=loss - form.loss(parameters, 2.0 * tokens),
        doubling_compute=loss - both,
    )


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a small gain in loss costs from a point.

    longer: training the same size on; optimal: the cheapest new run that reaches the lower loss.
    Each in FLOPs above what the point has used (so negative where the point wastes more than
    the gain costs) and, if a Spend was given, in its unit. Infinite where it cannot be reached.
    """

    loss: Number
    longer_tokens: Number
    longer_flops: Number
    longer_spend: Number | None
    optimal_flops: Number
    optimal_spend: Number | None


def next_step(
    parameters: Number,
    tokens: Number,
    law: str | Law = DEFAULT_LAW,
    nats: float = 0.01,
    spend: Spend | None = None,
) -> NextStep:
    """The price of the next 0.01 nat: in FLOPs, and in money or carbon through `spend`."""
    form = find_law(law).additive
    target = form.loss(parameters, tokens) - nats
    more = form.tokens_for(parameters, target)
    size, data = form.optimum_for_loss(target)
    used = training_flops(parameters, tokens)
    paid = None if spend is None else spend(parameters, tokens)
    return NextStep(
        loss=target,
        longer_tokens=more - tokens,
        longer_flops=training_flops(parameters, more) - used,
        longer_spend=None if spend is None else _spent(spend, parameters, more) - paid,
        optimal_flops=training_flops(size, data) - used,
        optimal_spend=None if spend is None else _spent(spend, size, data) - paid,
    )


def _spent(spend: Spend, parameters: Number, tokens: Number) -> Number:
    """The spend, or infinity where the point itself is out of reach."""
    possible = training_flops(parameters, tokens) < INFINITE
    safe = spend(where(possible, parameters, 1.0), where(possible, tokens, 1.0))
    return where(possible, safe, INFINITE)


def perplexity(loss: Number) -> Number:
    """e^L a token. It depends on the tokenizer: compare it only under the same one."""
    return exp(loss)


@dataclass(frozen=True, slots=True)
class Curve:
    """Columns of equal length for plotting."""

    flops: FloatArray
    parameters: FloatArray
    tokens: FloatArray
    loss: FloatArray | None


def isoflop_curve(
    flops: float, law: str | Law = DEFAULT_LAW, points: int = 41, span: float = 16.0
) -> Curve:
    """Loss against size at one budget, from optimum / span to optimum x span, evenly in logs."""
    form = find_law(law).additive
    best, data = form.optimum(flops)
    factors = span ** np.linspace(-1.0, 1.0, points)
    parameters, tokens = best * factors, data / factors
    return Curve(np.full(points, flops), parameters, tokens, form.loss(parameters, tokens))


def frontier(
    low_flops: float, high_flops: float, law: str | Law = DEFAULT_LAW, points: int = 41
) -> Curve:
    """The optimum against the budget, evenly in logs. loss is None where the law has none."""
    form = find_law(law).form
    flops = np.geomspace(low_flops, high_flops, points)
    parameters, tokens = form.optimum(flops)
    return Curve(flops, parameters, tokens, form.frontier_loss(flops))
