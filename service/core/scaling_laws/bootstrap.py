"""Bounds of the optimum from bootstrap refits of a law's constants.

The refits are strongly correlated in (A, B, alpha, beta), so bounds are quantiles of the derived
quantities, never of the constants. They are smooth in log10 C: a table on a fixed grid of budgets,
made once a law, answers each request by interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from service.core.numeric import FloatArray, Number, exp
from service.core.scaling_laws.forms import Additive
from service.core.scaling_laws.law import Law
from service.core.uncertainty import LEVEL

_FIRST, _STEP, _COUNT = 8.0, 0.05, 541


@cache
def besiroglu_refits() -> Additive:
    """1,000 resamples of the 240 points, refitted (Huber 1e-3 on log loss): data/README.md."""
    source = files("service.core.scaling_laws") / "data" / "besiroglu_bootstrap.npy"
    with source.open("rb") as stream:
        table: FloatArray = np.load(stream)
    a, b, e, alpha, beta = table.T
    return Additive(e, a, b, alpha, beta)


@dataclass(frozen=True, slots=True)
class UniformBand:
    """Two curves on one uniform grid, straight between its points and beyond its ends."""

    start: float
    step: float
    values: FloatArray
    """Lower and upper, shape `[2, points]`."""
    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, start: float, step: float, values: FloatArray) -> UniformBand:
        """Keep the values both as an array and as floats, for either kind of caller."""
        return cls(start, step, values, tuple((low, high) for low, high in values.T.tolist()))

    def __call__(self, x: Number) -> tuple[Number, Number]:
        """Both curves at x, a float or an array."""
        place = (x - self.start) / self.step
        last = len(self.points) - 2
        if isinstance(place, np.ndarray):
            rows = np.clip(place.astype(np.int64), 0, last)
            share = place - rows
            (low, high), (next_low, next_high) = self.values[:, rows], self.values[:, rows + 1]
        else:
            row = min(max(int(place), 0), last)
            share = place - row
            (low, high), (next_low, next_high) = self.points[row], self.points[row + 1]
        return low + share * (next_low - low), high + share * (next_high - high)


class Bounds(NamedTuple):
    """Lower and upper 90 % bounds at the optimum, against log10 C."""

    log_parameters: UniformBand
    """Of ln N."""
    loss: UniformBand

    def parameters(self, log_flops: Number) -> tuple[Number, Number]:
        """Bounds of the optimal N."""
        low, high = self.log_parameters(log_flops)
        return exp(low), exp(high)


@lru_cache(maxsize=32)
def bounds_of(law: Law) -> Bounds:
    """The bounds of a law that has bootstrap refits; made on first use (some 0.1 s)."""
    if law.samples is None:
        raise ValueError(f"{law.name} has no bootstrap refits")
    grid = _FIRST + _STEP * np.arange(_COUNT)
    refits = _as_columns(law.samples())
    parameters, tokens = refits.optimum(10.0**grid)
    tail = (1.0 - LEVEL) / 2.0
    size = np.quantile(np.log(parameters), (tail, 1.0 - tail), axis=0)
    loss = np.quantile(refits.loss(parameters, tokens), (tail, 1.0 - tail), axis=0)
    return Bounds(UniformBand.of(_FIRST, _STEP, size), UniformBand.of(_FIRST, _STEP, loss))


def _as_columns(refits: Additive) -> Additive:
    return Additive(
        *(
            np.asarray(constant)[:, None]
            for constant in (
                refits.irreducible,
                refits.parameter_coefficient,
                refits.token_coefficient,
                refits.parameter_exponent,
                refits.token_exponent,
            )
        )
    )
