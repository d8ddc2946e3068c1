"""Fits the passes of encoders under TensorRT, and tests the fit on machines and models left out.

`python -m service.calibration.serving_encoders` writes `core/calibration_data/encoding.json` and
prints the back-test. The rows (`data/serving_encoders.csv`) are NVIDIA's mean latencies of BERT on
five accelerators. Intervals come from the errors of fits without the row's machine, or without its
model; machines count equally, and a row's own kind never informs the interval it is judged by.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from service.calibration import reference
from service.calibration.rows import BacktestRow, summary, table
from service.core.hardware import Device
from service.core.serving import encoding, speed
from service.core.serving.load import Replica
from service.core.serving.tables import ServingTable, compute_format, format_class
from service.core.serving.tables import table as serving_table
from service.core.uncertainty import LEVEL

Array = NDArray[np.float64]
COEFFICIENTS = ("compute", "int8", "attention", "layer_seconds")
"""Logits of shares (the second is added to the first for int8), and a natural logarithm."""
START = np.array([0.0, 0.0, 0.0, np.log(20e-6)])
PRIOR = 0.05
"""Weight of the start beside a row's error."""
MACHINE_PRIOR = 0.3
"""The same of a machine's own offset: rows scatter by about 0.15 and machines by 0.5."""
ROBUST = 0.2
"""Log-errors beyond this count by their size and not by its square."""
LEFT_OUT = {"engine": "accelerator", "pair": "model"}
"""What is left out to judge a level."""


@dataclass(frozen=True)
class Row:
    """One measured pass."""

    source: str
    accelerator: str
    model: str
    weights: str
    tokens: float
    batch: float
    seconds: float

    @cached_property
    def folded(self) -> ServingTable:
        """The network's table without activations."""
        return encoding.fused(serving_table(reference.network(self.model), self.weights, "bf16"))

    @property
    def device(self) -> Device:
        """The accelerator at the format's arithmetic."""
        return reference.accelerator(self.accelerator).device(compute_format(self.weights))

    def predicted(self, fitted: encoding.Fitted) -> float:
        """Seconds of the pass."""
        engine = encoding.engine_of(fitted, self.accelerator, format_class(self.weights))
        replica = Replica(batch=self.batch, prompt_tokens=self.tokens, output_tokens=0.0)
        found = speed.prefill_seconds(self.folded, replica, self.device, engine, self.batch)
        return float(found)


def rows() -> list[Row]:
    """Every row of the file."""
    text = files("service.calibration").joinpath("data/serving_encoders.csv").read_text("utf-8")
    return [
        Row(
            record["source"],
            record["accelerator"],
            record["model"],
            record["weights"],
            float(record["tokens"]),
            float(record["batch"]),
            float(record["milliseconds"]) / 1e3,
        )
        for record in csv.DictReader(text.splitlines())
    ]


def errors(measured: Sequence[Row], fitted: encoding.Fitted) -> Array:
    """log(predicted / observed) of each row."""
    return np.array([np.log(row.predicted(fitted) / row.seconds) for row in measured])


def fit(measured: Sequence[Row]) -> encoding.Fitted:
    """The common coefficients and each machine's offset of the least errors."""
    machines = sorted({row.accelerator for row in measured})
    start = np.append(START, np.zeros(len(machines)))
    prior = np.append(np.full(len(START), PRIOR), np.full(len(machines), MACHINE_PRIOR))

    def read(vector: Array) -> encoding.Fitted:
        values = [round(float(value), 4) for value in vector]
        common = dict(zip(COEFFICIENTS, values[: len(START)], strict=True))
        return encoding.Fitted(common, dict(zip(machines, values[len(START) :], strict=True)))

    def misses(vector: Array) -> Array:
        common = dict(zip(COEFFICIENTS, vector, strict=False))
        offsets = dict(zip(machines, vector[len(START) :], strict=True))
        missed = errors(measured, encoding.Fitted(common, offsets))
        return np.append(missed, prior * (vector - start))

    return read(least_squares(misses, start, loss="soft_l1", f_scale=ROBUST).x)


def left_out(measured: Sequence[Row], kind: str) -> Array:
    """Each row's error by the fit without its accelerator, or without its model."""
    found = np.zeros(len(measured))
    for _, aside in _each(measured, kind):
        others = [row for row, out in zip(measured, aside, strict=True) if not out]
        own = [row for row, out in zip(measured, aside, strict=True) if out]
        found[aside] = errors(own, fit(others))
    return found


def bounds(judged: Sequence[Row], missed: Array) -> tuple[float, float]:
    """Log-ratios around a prediction that hold nine in ten of the observed; machines alike."""
    machines = [row.accelerator for row in judged]
    weights = np.array([1.0 / machines.count(name) for name in machines])
    order = np.argsort(-missed)
    reached = np.cumsum(weights[order]) / weights.sum()
    tail = (1.0 - LEVEL) / 2.0
    low, high = (
        float(-missed[order][np.searchsorted(reached, at - 1e-9)]) for at in (tail, 1.0 - tail)
    )
    return round(min(low, 0.0), 4), round(max(high, 0.0), 4)


def widened(judged: Sequence[Row], missed: Array, kind: str) -> tuple[float, float]:
    """The bounds, grown until those of the other machines, or models, hold nine in ten of a one's.

    Rows of one machine err together: quantiles over rows alone are too narrow for another one.
    """
    needed: list[float] = []
    for _, aside in _each(judged, kind):
        others = [row for row, out in zip(judged, aside, strict=True) if not out]
        low, high = bounds(others, missed[~aside])
        needed += [
            max(-error / max(high, 1e-3), error / max(-low, 1e-3)) for error in missed[aside]
        ]
    growth = max(float(np.quantile(needed, LEVEL)), 1.0)
    low, high = bounds(judged, missed)
    return round(low * growth, 4), round(high * growth, 4)


def _each(judged: Sequence[Row], kind: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each machine, or model, and which rows are its."""
    for name in sorted({getattr(row, kind) for row in judged}):
        yield name, np.array([getattr(row, kind) == name for row in judged])


def calibration() -> dict[str, Any]:
    """The calibration document."""
    measured = rows()
    fitted = fit(measured)
    return {
        "id": "encoding-1",
        "fitted_by": "python -m service.calibration.serving_encoders",
        "fitted_on": sorted({row.source for row in measured}),
        "rows": len(measured),
        "scale": "logits of shares (int8, and a machine's own, are added to compute); "
        "layer_seconds is a natural logarithm",
        "coefficients": fitted.common,
        "accelerators": fitted.accelerators,
        "intervals": {
            level: widened(measured, left_out(measured, kind), kind)
            for level, kind in LEFT_OUT.items()
        },
    }


def backtest() -> list[BacktestRow]:
    """Every row by fits without its machine and without its model."""
    measured = rows()
    return [row for kind in LEFT_OUT.values() for row in _judged(measured, kind)]


def _judged(measured: Sequence[Row], kind: str) -> list[BacktestRow]:
    missed = left_out(measured, kind)
    found = []
    for _, aside in _each(measured, kind):
        others = [row for row, out in zip(measured, aside, strict=True) if not out]
        low, high = _interval_of(others, missed[~aside], kind)
        found += [
            _row(row, row.seconds * float(np.exp(error)), (low, high), kind)
            for row, error, own in zip(measured, missed, aside, strict=True)
            if own
        ]
    return found


def _interval_of(judged: Sequence[Row], missed: Array, kind: str) -> tuple[float, float]:
    """From the rows of other kinds: widened where there are several of them."""
    several = len({getattr(row, kind) for row in judged}) > 1
    return widened(judged, missed, kind) if several else bounds(judged, missed)


def _row(row: Row, value: float, interval: tuple[float, float], kind: str) -> BacktestRow:
    low, high = interval
    return BacktestRow(
        source=f"serving: encoders, {kind} left out",
        quantity="pass_seconds",
        case=f"{row.model} {row.weights} {row.accelerator} {row.batch:g} x {row.tokens:g} tokens",
        observed=row.seconds,
        value=value,
        low=value * float(np.exp(low)),
        high=value * float(np.exp(high)),
        set_aside=True,
        family=row.model,
        accelerator=row.accelerator,
    )


def write(document: Mapping[str, Any], path: Path | None = None) -> None:
    """Write the coefficients file."""
    target = path or Path(str(files("service.core"))) / "calibration_data" / "encoding.json"
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Fit, write and print the back-test."""
    write(calibration())
    print(table(summary(backtest())))


if __name__ == "__main__":
    main()
