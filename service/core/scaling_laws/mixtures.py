"""Mixtures of experts: three published laws, for the trend only, and dense-equivalent sizes.

Compute and time follow the active parameters, memory the total. The three laws were fitted on
different data, with different counts of N, and disagree: a dense-equivalent size is a range.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10 as _log10

import numpy as np

from service.core.numeric import Number, exp, log, maximum, minimum
from service.core.scaling_laws.forms import FLOPS_PER_PARAMETER_TOKEN
from service.core.scaling_laws.law import LawError
from service.core.scaling_laws.roots import least
from service.core.uncertainty import Interval


@dataclass(frozen=True, slots=True)
class RoutedLaw:
    """log10 L = a log10 N + b log10 E' + c log10 N log10 E' + d (Clark et al. 2022, equation 1).

    N: parameters of the dense base model; E: experts; E' saturates between `start` and `end`
    (equation 8). Trained on 130B tokens of MassiveText. Constants: table 3 of arXiv 2202.01169,
    read in secondary texts.
    """

    a: float
    b: float
    c: float
    d: float
    start: float
    end: float

    def effective_experts(self, experts: Number) -> Number:
        """1 / E' = 1 / (E - 1 + (1/start - 1/end)^-1) + 1 / end."""
        offset = 1.0 / (1.0 / self.start - 1.0 / self.end)
        return 1.0 / (1.0 / (experts - 1.0 + offset) + 1.0 / self.end)

    def loss(self, parameters: Number, experts: Number) -> Number:
        """Loss in nats a token."""
        n, e = _log_ten(parameters), _log_ten(self.effective_experts(experts))
        return 10.0 ** (self.a * n + self.b * e + self.c * n * e + self.d)

    def dense_equivalent(self, parameters: Number, experts: Number) -> Number:
        """The dense model of the same loss: the law solved at one expert, E' = start.

        The gain shrinks with size; beyond the cut-off (937B for S-BASE) it is below 1.
        """
        n, e = _log_ten(parameters), _log_ten(self.effective_experts(experts))
        one = _log10(self.start)
        slope = self.a + self.c * one
        return 10.0 ** (((self.a + self.c * e) * n + self.b * (e - one)) / slope)


CLARK = {
    "s-base": RoutedLaw(-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "rl-r": RoutedLaw(-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "hash": RoutedLaw(-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}
"""The three ways of routing that Clark et al. 2022 fitted."""


def clark_loss(parameters: Number, experts: Number, routing: str = "s-base") -> Number:
    """Clark 2022's loss for a dense base size and a number of experts."""
    return _routing(routing).loss(parameters, experts)


def krajewski_loss(parameters: Number, tokens: Number, granularity: Number) -> Number:
    """L = c + (g / G^gamma + a) / N^alpha + b / D^beta (Krajewski et al. 2024, arXiv 2402.07871).

    N: total non-embedding parameters with 64 experts; G: granularity, how many times finer than a
    feed-forward layer an expert is (1 to 16). Fitted on 129M to 3.7B, 16B to 130B tokens of C4.
    """
    return 0.47 + (2.1 / granularity**0.58 + 18.1) * parameters**-0.115 + 30.8 * tokens**-0.147


def krajewski_dense_loss(parameters: Number, tokens: Number) -> Number:
    """The same authors' dense law: 0.47 + 16.3 / N^0.126 + 26.7 / D^0.127."""
    return 0.47 + 16.3 * parameters**-0.126 + 26.7 * tokens**-0.127


def abnar_loss(parameters: Number, tokens: Number, sparsity: Number) -> Number:
    """Abnar et al. 2025 (arXiv 2501.12370), equation 6, with table 3's constants.

    parameters: total; sparsity: the share of experts that stay idle, (E - K) / E in [0, 1).
    """
    active = 1.0 - sparsity
    return (
        16612.50 * parameters**-0.5962
        + 5455.67 * tokens**-0.3954
        + 0.4598 * active**0.1666
        + 17.26 / (active**0.1603 * parameters**0.1595)
        + 0.94
    )


def abnar_optimum(flops: Number, sparsity: Number) -> tuple[Number, Number]:
    """(total N, D) with the least loss at C = 6 N (1 - S) D."""
    active = 1.0 - sparsity
    product = flops / (FLOPS_PER_PARAMETER_TOKEN * active)

    def loss(log_size: Number) -> Number:
        size = exp(log_size)
        return abnar_loss(size, product / size, sparsity)

    centre = log(product) / 2.0
    parameters = exp(least(loss, centre - 8.0, centre + 8.0, points=129))
    return parameters, product / parameters


@dataclass(frozen=True, slots=True)
class MixtureTrend:
    """What the laws say of a mixture, to be read as a direction.

    dense_equivalent: the dense size of equal loss, as the range over Clark's routings round the
    S-BASE value, never below the active parameters nor above the total. abnar_loss and
    krajewski_loss compare mixtures with each other only (None without tokens).
    """

    dense_equivalent: Interval
    abnar_loss: Number | None
    krajewski_loss: Number | None
    warnings: tuple[str, ...]


def mixture_trend(
    total: Number,
    active: Number,
    experts: Number,
    active_experts: Number,
    tokens: Number | None = None,
    granularity: Number = 1.0,
) -> MixtureTrend:
    """The published trends for a mixture of `experts`, `active_experts` of which see a token."""
    sizes = [law.dense_equivalent(active, experts / active_experts) for law in CLARK.values()]
    kept = [minimum(maximum(size, active), total) for size in sizes]
    sparsity = 1.0 - active_experts / experts
    return MixtureTrend(
        dense_equivalent=Interval(
            kept[0],
            minimum(minimum(kept[0], kept[1]), kept[2]),
            maximum(maximum(kept[0], kept[1]), kept[2]),
        ),
        abnar_loss=None if tokens is None else abnar_loss(total, tokens, sparsity),
        krajewski_loss=None if tokens is None else krajewski_loss(total, tokens, granularity),
        warnings=("trend_only",),
    )


def _routing(name: str) -> RoutedLaw:
    if name not in CLARK:
        raise LawError(f"unknown routing '{name}'; known: {', '.join(CLARK)}")
    return CLARK[name]


def _log_ten(value: Number) -> Number:
    return np.log10(value) if isinstance(value, np.ndarray) else _log10(value)
