"""What a served model was measured to allocate, and the interval of a replica's peak memory.

Nothing is fitted: weights, cache and workspace are counted. The rows (`data/serving_memory.csv`)
are of Qwen2.5 on an A100 and Qwen3 on an H20 under transformers, one sequence at a time, by what
PyTorch had allocated. The context and libraries of a device are not in that, and are left out of
the prediction too. Figures of Qwen2.5 hold the activations of the prompt, as the peak does; those
of Qwen3 in 16 bits are weights and cache within 0.4 %. So the lower bound starts from what is held
between passes. The bounds are those of the other models' errors, models counting equally.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from service.calibration import reference
from service.calibration.rows import BacktestRow
from service.core import serving
from service.core.serving import ServingJob, memory
from service.core.uncertainty import LEVEL

MIB = 2**20


class Row(NamedTuple):
    """One measured peak beside the counted one; bytes."""

    case: str
    model: str
    accelerator: str
    engine: str
    observed: float
    predicted: float
    resident: float
    """Of the prediction, what is held between passes."""

    def ratio(self) -> float:
        """log(observed / predicted), 0 where observed lies between resident and predicted."""
        nearest = min(max(self.observed, self.resident), self.predicted)
        return float(np.log(self.observed / nearest))


def rows() -> Sequence[Row]:
    """Every row of the file."""
    text = files("service.calibration").joinpath("data/serving_memory.csv").read_text("utf-8")
    return [
        Row(
            f"{record['model']} {record['weights']} {record['prompt_tokens']} tokens",
            record["model"],
            record["accelerator"],
            record["engine"],
            float(record["allocated_mib"]) * MIB,
            *_allocated(record),
        )
        for record in csv.DictReader(text.splitlines())
    ]


def _allocated(record: dict[str, str]) -> tuple[float, float]:
    """Of a prompt's pass and between passes."""
    job = ServingJob(
        record["weights"],
        engine=record["engine"],
        prompt_tokens=float(record["prompt_tokens"]),
        output_tokens=float(record["output_tokens"]),
    )
    accelerator = reference.accelerator(record["accelerator"])
    found = serving.estimate(reference.network(record["model"]), accelerator, job)
    peak = float(found.memory.peak_bytes) - memory.budget(record["engine"]).fixed_bytes
    return peak, peak - float(found.memory.prompt_bytes)


def bounds(measured: Sequence[Row]) -> tuple[float, float]:
    """Log-ratios around a counted peak that hold nine in ten of the observed ones."""
    models = [row.model for row in measured]
    weights = np.array([1.0 / models.count(model) for model in models])
    ratios = np.array([row.ratio() for row in measured])
    order = np.argsort(ratios)
    reached = np.cumsum(weights[order]) / weights.sum()
    tail = (1.0 - LEVEL) / 2.0
    low, high = (ratios[order][np.searchsorted(reached, at - 1e-9)] for at in (tail, 1.0 - tail))
    return min(float(low), 0.0), max(float(high), 0.0)


def backtest() -> list[BacktestRow]:
    """Each row in the interval of the other models."""
    measured = rows()
    known = {
        model: bounds([row for row in measured if row.model != model])
        for model in {row.model for row in measured}
    }
    return [
        BacktestRow(
            source=f"memory of serving: {row.engine}",
            quantity="serving_peak_bytes",
            case=row.case,
            observed=row.observed,
            value=row.predicted,
            low=row.resident * float(np.exp(known[row.model][0])),
            high=row.predicted * float(np.exp(known[row.model][1])),
            set_aside=True,
            family=row.model,
            accelerator=row.accelerator,
        )
        for row in measured
    ]
