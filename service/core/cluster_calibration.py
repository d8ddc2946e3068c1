"""What a cluster's own runs say of the general model: one factor a quantity, with its interval.

The log-ratios of observed to predicted figures of a cluster scatter around one log-factor that
the cluster owns. All of it is unknown beforehand: the factor has a Student-t prior around 1 whose
spread comes from the general interval, the scatter's size a log-normal one, and its shape is
even (logistic), or that of a cluster where most runs agree and some are far off (Cauchy), to
either side or rather above: a run that goes wrong takes longer. An absurd run so counts for
little. The posterior is summed on a grid: nothing is sampled, equal runs give equal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.core.numeric import FloatArray

NORMAL_90 = 1.6449
"""Half-width of a normal's 90 % interval, in standard deviations."""
SPREAD_SHARE = 0.6
"""Spread of clusters' factors over the general spread; the rest is scatter within a cluster."""
SCATTER_SHARE = 0.35
"""Median scatter of a cluster's runs over the general spread, before any run is seen."""
SCATTER_DOUBT = 1.0
"""Log standard deviation of that scatter."""
LEAST_SPREAD = 0.1
"""No general interval is taken to be tighter; log units."""
SKEW = 1.5
"""Of the lopsided shape: scale above its factor, and one over that below, in scatters."""
FURTHEST = 4.6
"""Largest log-ratio that is looked at (a factor of 100); what lies beyond is as absurd as that."""
_SCATTERS = np.linspace(-2.5, 2.5, 25)
_COARSE, _FINE = 461, 161


class Correction(NamedTuple):
    """How a general prediction becomes the cluster's."""

    factor: float
    """Of the predicted value; 1 leaves it."""
    low: float
    """Log-ratio of the interval's lower end to the corrected value, not above 0."""
    high: float
    """Log-ratio of the upper end, not below 0."""
    runs: int
    """Runs that counted."""


class Corrections(NamedTuple):
    """What a cluster's runs say of each quantity; None where none observed it."""

    memory: Correction | None = None
    time: Correction | None = None
    power: Correction | None = None
    """Energy beyond what the corrected time explains."""


def correction(log_ratios: Sequence[float], bounds: tuple[float, float]) -> Correction:
    """The correction from `log(observed / predicted)` of each run.

    `bounds`: log-ratios of the general 90 % interval, which stands where there is no run. The
    interval is for the next run of the cluster: its factor and its runs' scatter together.
    """
    if not log_ratios:
        return Correction(1.0, *bounds, 0)
    seen = np.clip(np.asarray(log_ratios, dtype=np.float64), -FURTHEST, FURTHEST)
    spread = max((bounds[1] - bounds[0]) / (2.0 * NORMAL_90), LEAST_SPREAD)
    coarse = np.linspace(-FURTHEST, FURTHEST, _COARSE)
    mean, deviation = _moments(coarse, _posterior(coarse, seen, spread))
    reach = max(8.0 * deviation, 2.0 * (coarse[1] - coarse[0]))
    fine = np.linspace(mean - reach, mean + reach, _FINE)
    weights = _posterior(fine, seen, spread)
    mean, _ = _moments(fine, weights)
    low, high = (_quantile(share, fine, weights, spread) for share in (0.05, 0.95))
    return Correction(float(np.exp(mean)), min(low - mean, 0.0), max(high - mean, 0.0), len(seen))


def _scales(spread: float) -> FloatArray:
    scales: FloatArray = SCATTER_SHARE * spread * np.exp(SCATTER_DOUBT * _SCATTERS)
    return scales


def _posterior(factors: FloatArray, seen: FloatArray, spread: float) -> FloatArray:
    """Weights that sum to 1 over (shape of the scatter, log-factor, its size)."""
    scales = _scales(spread)
    before = _log_prior(factors / (SPREAD_SHARE * spread))[:, None] - 0.5 * _SCATTERS**2
    total = np.stack([before + np.log(shape.odds) for shape in _SHAPES])
    for ratio in seen:
        deviation = (ratio - factors[:, None]) / scales
        for logs, shape in zip(total, _SHAPES, strict=True):
            logs += shape.log_density(deviation) - np.log(scales)
    weights: FloatArray = np.exp(total - total.max())
    weights /= weights.sum()
    return weights


def _log_prior(deviation: FloatArray) -> FloatArray:
    """Student-t with 4 degrees of freedom, up to a constant."""
    density: FloatArray = -2.5 * np.log1p(deviation * deviation / 4.0)
    return density


def _log_logistic(deviation: FloatArray) -> FloatArray:
    """Log density of the logistic distribution with standard deviation 1."""
    size = _LOGISTIC * np.abs(deviation)
    density: FloatArray = np.log(_LOGISTIC) - size - 2.0 * np.log1p(np.exp(-size))
    return density


def _below_logistic(deviation: FloatArray) -> FloatArray:
    share: FloatArray = 0.5 + 0.5 * np.tanh(0.5 * _LOGISTIC * deviation)
    return share


def _log_cauchy(deviation: FloatArray) -> FloatArray:
    """Log density of the Cauchy distribution with half of its mass within 1."""
    density: FloatArray = -np.log(np.pi) - np.log1p(deviation * deviation)
    return density


def _below_cauchy(deviation: FloatArray) -> FloatArray:
    share: FloatArray = 0.5 + np.arctan(deviation) / np.pi
    return share


def _log_lopsided(deviation: FloatArray) -> FloatArray:
    """Log density of two half Cauchys that meet at 0, the upper one SKEW**2 times as wide."""
    stretched = np.where(deviation > 0.0, deviation / SKEW, deviation * SKEW)
    density: FloatArray = _log_cauchy(stretched) + np.log(2.0 * SKEW / (SKEW * SKEW + 1.0))
    return density


def _below_lopsided(deviation: FloatArray) -> FloatArray:
    lower = 2.0 / (SKEW * SKEW + 1.0) * _below_cauchy(np.minimum(deviation, 0.0) * SKEW)
    upper = np.arctan(np.maximum(deviation, 0.0) / SKEW) * 2.0 / np.pi
    share: FloatArray = lower + SKEW * SKEW / (SKEW * SKEW + 1.0) * upper
    return share


class _Shape(NamedTuple):
    """How a cluster's runs can scatter around its factor, in scales of the scatter."""

    odds: float
    """Before any run."""
    log_density: Callable[[FloatArray], FloatArray]
    below: Callable[[FloatArray], FloatArray]
    """Share of runs below."""


_LOGISTIC = np.pi / np.sqrt(3.0)
_SHAPES = (
    _Shape(0.45, _log_logistic, _below_logistic),
    _Shape(0.45, _log_cauchy, _below_cauchy),
    _Shape(0.1, _log_lopsided, _below_lopsided),
)
"""Of the sources of `service.calibration.cluster` half are evenly scattered and half lopsided. The
lopsided shape has the lower odds, so that a few runs do not pull the factor to one side."""


def _moments(factors: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the log-factor."""
    by_factor = weights.sum(axis=(0, 2))
    mean = float(factors @ by_factor)
    return mean, float(np.sqrt(((factors - mean) ** 2) @ by_factor))


def _quantile(share: float, factors: FloatArray, weights: FloatArray, spread: float) -> float:
    """The log-ratio below which this share of the cluster's next runs lies, by bisection."""
    scales = _scales(spread)
    low, high = -3.0 * FURTHEST, 3.0 * FURTHEST
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        deviation = (middle - factors[:, None]) / scales
        below = sum(
            float((of_shape * shape.below(deviation)).sum())
            for of_shape, shape in zip(weights, _SHAPES, strict=True)
        )
        low, high = (middle, high) if below < share else (low, middle)
    return 0.5 * (low + high)
