"""Fits what the memory model leaves open, and tests the model on measured runs.

`python -m service.calibration.memory` writes `service/core/calibration_data/memory.json` and
prints the back-test. States and activations are derived and have nothing to fit; what is fitted
is what no tensor shows (context, communication, fragmentation) and what a fused kernel or a
dequantisation holds while it runs. Each row is judged by a fit that has not seen its group.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from service.calibration.memory_rows import Job, jobs
from service.calibration.rows import BacktestRow, summary, table
from service.core import memory
from service.core.memory import calibration

FOLDS = 4

_TERMS: Mapping[str, tuple[float, float, str, tuple[str, ...]]] = {
    "fused_logit_copies": (1.5, 0.5, "copies of the logits, compute precision", ("simumax-b200",)),
    "fused_hidden_copies": (4.5, 5.0, "copies of the hidden stream", ("simumax-b200",)),
    "dequantisation_blockwise": (8.0, 4.0, "bytes an element of the matrix in use", ("litgpt",)),
    "dequantisation_grouped": (40.0, 20.0, "bytes an element of the matrix in use", ("qwen",)),
    "context_bytes": (0.5e9, 0.5e9, "bytes a device", ("qwen", "bigscience-a100")),
    "communication_bytes": (1.0e9, 1.0e9, "bytes a device of several", ("bigscience-a100",)),
    "fragmentation": (0.03, 0.03, "fraction of the allocated peak", ("peft", "qwen")),
}
"""(start, prior's width, unit, sources) of each fitted term."""

FITTED_SOURCES = ("simumax-b200", "litgpt", "qwen", "peft", "bigscience-a100")
ERROR = 0.02
"""The relative error of a row at which it weighs as much as a prior of one width."""


def rows() -> tuple[Job, ...]:
    """Every measured row."""
    return jobs()


def predicted(job: Job) -> float:
    """The estimate of what the row measured, in bytes."""
    parts, _ = memory.worst_stage(job.network, job.kernels, job.layout, job.sequence_length)
    if job.measure == "allocated":
        return float(parts.allocated)
    if job.measure == "device":
        return float(parts.peak)
    terms = calibration.coefficients()
    several = terms["communication_bytes"] if job.layout.devices > 1 else 0.0
    return float(parts.peak) - terms["context_bytes"] - several


def coefficients(seen: Sequence[Job]) -> dict[str, float]:
    """The terms that fit the rows best, with a weak prior around their physical values."""
    used = [job for job in seen if job.source in FITTED_SOURCES]
    names = list(_TERMS)
    start = np.array([_TERMS[name][0] for name in names])
    width = np.array([_TERMS[name][1] for name in names])

    def residuals(shifts: np.ndarray) -> np.ndarray:
        values = dict(zip(names, start + shifts * width, strict=True))
        with calibration.using(values):
            errors = [math.log(predicted(job) / job.observed_bytes) / ERROR for job in used]
        return np.array([*errors, *shifts])

    lowest = -start / width
    found = least_squares(residuals, np.zeros(len(names)), bounds=(lowest, 20.0), loss="soft_l1")
    return {name: float(value) for name, value in zip(names, start + found.x * width, strict=True)}


def fit() -> dict[str, Any]:
    """The calibration document: each term with its unit, value and source, and the intervals."""
    values = coefficients(jobs())
    return {
        "id": "memory-1",
        "how": f"least squares of log ratios, a weak prior, {FOLDS} folds for the intervals",
        "coefficients": {
            name: {"value": value, "unit": _TERMS[name][2], "fitted_on": list(_TERMS[name][3])}
            for name, value in values.items()
        },
        "intervals": intervals(set_aside()),
    }


def fold_of(job: Job) -> int:
    """The fold that the row's group is set aside in."""
    return zlib.crc32(f"{job.source} {job.group}".encode()) % FOLDS


def set_aside() -> list[tuple[Job, float]]:
    """Every row with the estimate of a fit that had not seen its group."""
    everything = jobs()
    found: list[tuple[Job, float]] = []
    for fold in range(FOLDS):
        seen = [job for job in everything if fold_of(job) != fold]
        with calibration.using(coefficients(seen)):
            found += [(job, predicted(job)) for job in everything if fold_of(job) == fold]
    return found


def intervals(judged: Sequence[tuple[Job, float]]) -> dict[str, dict[str, float]]:
    """Log-ratio bounds that hold nine rows in ten, by class of evidence."""
    classes = {job.evidence for job, _ in judged}
    measured = [pair for pair in judged if pair[0].measure != "allocated"]
    found = {
        name: _bounds([pair for pair in judged if pair[0].evidence == name])
        for name in sorted(classes)
    }
    return found | {"general": _bounds(measured)}


def _bounds(judged: Sequence[tuple[Job, float]]) -> dict[str, float]:
    """The 5 % and 95 % points of observed over predicted, a little wide for few rows."""
    ratios = np.array([math.log(job.observed_bytes / value) for job, value in judged])
    edge = 0.05 * len(ratios) / (len(ratios) + 1)
    low, high = np.quantile(ratios, [edge, 1.0 - edge])
    return {
        "low": min(float(low), 0.0),
        "high": max(float(high), 0.0),
        "rows": float(len(ratios)),
    }


def backtest() -> list[BacktestRow]:
    """Every row beside the estimate of a fit that had not seen its group."""
    result = []
    for job, value in set_aside():
        low, high = memory.bounds(job.evidence)
        result.append(
            BacktestRow(
                job.source,
                "peak_bytes",
                job.case,
                job.observed_bytes,
                value,
                value * math.exp(low),
                value * math.exp(high),
                set_aside=True,
                family=job.family,
                accelerator=job.accelerator,
            )
        )
    return result


def write(path: Path | None = None) -> None:
    """Fits again and writes the calibration file."""
    target = path or Path(str(files("service.core").joinpath("calibration_data/memory.json")))
    target.write_text(json.dumps(fit(), indent=2) + "\n", encoding="utf-8")
    calibration.reload()


def main() -> None:
    """Fits, writes and prints the back-test."""
    write()
    print(table(summary(backtest())))


if __name__ == "__main__":
    main()
