"""The time to the first token under a closed load: three coefficients an engine.

`a prefill + b step + c (batch - 1) prefill`, fitted in logarithms with wide priors around the
values of all engines together. Prefill and step are the calibrated model's own, so what is fitted
here is the scheduling alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from service.calibration.serving_pool import Array, Pool
from service.calibration.serving_rows import Row
from service.core.serving import speed
from service.core.serving.calibration import engine_of
from service.core.stacking import stack

CENTRE = np.log([1.2, 3.0, 0.05])
"""One's own prompt and a little; the steps of a schedule's delay; a twentieth of each neighbour."""
SPREAD, NOISE = 1.0, 0.15


def terms(rows: Sequence[Row], pool: Pool, blocks: Array) -> Array:
    """Prefill, step and the neighbours' prefill of each row, shape `[rows, 3]`; seconds."""
    engine = engine_of(pool.vectors(blocks, rows).T, np.array([row.eager for row in rows]))
    tables, devices = stack([row.table for row in rows]), stack([row.device for row in rows])
    replicas = stack([row.replica for row in rows])
    prompt = speed.prefill_seconds(tables, replicas, devices, engine)
    step = speed.seconds_per_step(tables, replicas, devices, engine)
    return np.stack([prompt, step, (replicas.batch - 1.0) * prompt], axis=1)


def fit(parts: Array, observed: Array) -> Array:
    """The three coefficients."""

    def residuals(logs: Array) -> Array:
        errors = (np.log(parts @ np.exp(logs)) - np.log(observed)) / NOISE
        robust = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
        return np.concatenate([robust, (logs - CENTRE) / SPREAD])

    return np.asarray(np.exp(least_squares(residuals, CENTRE).x))


def errors(rows: Sequence[Row], parts: Array) -> list[tuple[Row, float]]:
    """Log errors of each row under its engine's fit without its model, or without its engine."""
    observed = np.array([row.observed for row in rows])
    result: list[tuple[Row, float]] = []
    for engine, model in sorted({(row.engine, row.model) for row in rows}):
        mine = np.array([r.engine == engine and r.model == model for r in rows])
        kin = np.array([r.engine == engine and r.model != model for r in rows])
        kept = kin if kin.sum() >= 10 else np.array([r.engine != engine for r in rows])
        predicted = parts[mine] @ fit(parts[kept], observed[kept])
        ratio = np.log(predicted / observed[mine])
        own = [row for row, chosen in zip(rows, mine, strict=True) if chosen]
        result.extend(zip(own, ratio.tolist(), strict=True))
    return result
