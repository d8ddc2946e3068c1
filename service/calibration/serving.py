"""Fitting and back-testing the serving model on measured rows (`data/serving.csv`).

The coefficients are fitted in logarithms by least squares with a soft loss. Three levels are
pooled: common values with wide priors, an offset for each engine, a smaller one for each
(accelerator, engine) pair; the priors keep what the rows do not tell near the level above.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from service.calibration import reference
from service.calibration.rows import BacktestRow
from service.core import serving
from service.core.serving import Engine, Replica, ServingTable, speed
from service.core.serving.calibration import FITTED

Array = NDArray[np.float64]

PRIOR = {
    "bandwidth_efficiency": (0.75, 0.25),
    "cache_efficiency": (0.5, 0.5),
    "compute_efficiency": (0.5, 0.4),
    "layer_seconds": (60e-6, 0.6),
    "tensor_layer_seconds": (15e-6, 0.6),
    "sequence_seconds": (15e-6, 0.8),
    "link_efficiency": (0.5, 0.6),
}
"""Central value and log standard deviation of the common coefficients: published shares of peak
bandwidth and compute (Pope et al. 2022, arXiv 2211.05102, section 4), launch times of tens of
microseconds a layer."""
ENGINE_SPREAD = 0.35
PAIR_SPREAD = 0.3
NOISE = 0.1
"""Log standard deviations of an engine's and a pair's offsets, and of a measured row."""
MINIMUM_ROWS = 3
"""Rows that a pair needs before it has coefficients of its own."""


@dataclass(frozen=True)
class Row:
    """One measured point."""

    source: str
    model: str
    accelerator: str
    engine: str
    metric: str
    observed: float
    """Seconds."""
    table: ServingTable
    replica: Replica
    device: Any

    @property
    def pair(self) -> str:
        """The key of the coefficients."""
        return f"{self.accelerator} {self.engine}"

    def predicted(self, engine: Engine) -> float:
        """The model's figure for this row, in seconds."""
        if self.metric == "prefill_seconds":
            return float(speed.prefill_seconds(self.table, self.replica, self.device, engine))
        return float(speed.seconds_per_output_token(self.table, self.replica, self.device, engine))


def rows() -> Sequence[Row]:
    """The measured rows whose model and accelerator are in the catalog."""
    text = files("service.calibration").joinpath("data/serving.csv").read_text("utf-8")
    found = (_row(record) for record in csv.DictReader(text.splitlines()))
    return [row for row in found if row is not None]


def _row(record: Mapping[str, str]) -> Row | None:
    if not record["concurrency"]:
        return None
    network = reference.network(record["model"])
    accelerator = reference.accelerator(record["accelerator"])
    batch = float(record["concurrency"])
    prompt, output = float(record["prompt_tokens"]), float(record["output_tokens"])
    replica = Replica(
        float(record["tensor"]), float(record["pipeline"]), batch, prompt, max(output, 1.0)
    )
    table = serving.table(network, record["weights"], record["cache"])
    device = accelerator.device(serving.compute_format(record["weights"]))
    return Row(
        record["source"], record["model"], record["accelerator"], record["engine"],
        record["metric"], float(record["value"]), table, replica, device,
    )  # fmt: skip


class Pool:
    """The parameter vector of a fit: common values, then one block for each engine and pair."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.engines = sorted({row.engine for row in rows})
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.pair] = counts.get(row.pair, 0) + 1
        self.pairs = sorted(pair for pair, count in counts.items() if count >= MINIMUM_ROWS)
        self.width = len(FITTED)
        self.blocks = 1 + len(self.engines) + len(self.pairs)
        self.stacked = _stack(rows)

    def fit(self) -> Array:
        """The most probable blocks, shape `[1 + engines + pairs, fields]`, logarithms."""
        start = np.zeros(self.blocks * self.width)
        spread = np.concatenate(
            [
                [PRIOR[name][1] for name in FITTED],
                np.full(len(self.engines) * self.width, ENGINE_SPREAD),
                np.full(len(self.pairs) * self.width, PAIR_SPREAD),
            ]
        )

        def residuals(vector: Array) -> Array:
            errors = self.log_errors(vector.reshape(self.blocks, self.width)) / NOISE
            robust = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
            return np.concatenate([robust, vector / spread])

        solved = least_squares(residuals, start, method="trf", max_nfev=60)
        return np.asarray(solved.x).reshape(self.blocks, self.width)

    def log_errors(self, blocks: Array) -> Array:
        """log(predicted / observed) of each row."""
        tables, replicas, devices, prefill, observed = self.stacked
        logs = np.stack([self.logs(blocks, row.engine, row.pair) for row in self.rows])
        engine = Engine(**dict(zip(FITTED, np.exp(logs).T, strict=True)))
        decode = speed.seconds_per_output_token(tables, replicas, devices, engine)
        prompt = speed.prefill_seconds(tables, replicas, devices, engine)
        return np.asarray(np.log(np.where(prefill, prompt, decode) / observed))

    def logs(self, blocks: Array, engine: str, pair: str) -> Array:
        """The logarithms of the coefficients for a pair, from the levels that know it."""
        total = blocks[0] + np.log([PRIOR[name][0] for name in FITTED])
        if engine in self.engines:
            total = total + blocks[1 + self.engines.index(engine)]
        if pair in self.pairs:
            total = total + blocks[1 + len(self.engines) + self.pairs.index(pair)]
        return np.asarray(total)


def _stack(rows: Sequence[Row]) -> tuple[Any, Any, Any, NDArray[np.bool_], Array]:
    tables = reference.stack([row.table for row in rows])
    replicas = reference.stack([row.replica for row in rows])
    devices = reference.stack([row.device for row in rows])
    prefill = np.array([row.metric == "prefill_seconds" for row in rows])
    return tables, replicas, devices, prefill, np.array([row.observed for row in rows])


def held_out(
    rows: Sequence[Row], key: Callable[[Row], str], level: str
) -> list[tuple[Row, float, str]]:
    """Log errors of rows predicted without any row that shares their key."""
    found: list[tuple[Row, float, str]] = []
    for value in sorted({key(row) for row in rows}):
        kept = [row for row in rows if key(row) != value]
        left = [row for row in rows if key(row) == value]
        pool = Pool(kept)
        blocks = pool.fit()
        for row in left:
            reached = _level(pool, row)
            if level not in (reached, "any"):
                continue
            logs = pool.logs(blocks, row.engine, row.pair)
            engine = Engine(**dict(zip(FITTED, np.exp(logs), strict=True)))
            found.append((row, float(np.log(row.predicted(engine) / row.observed)), reached))
    return found


def _level(pool: Pool, row: Row) -> str:
    if row.pair in pool.pairs:
        return "pair"
    return "engine" if row.engine in pool.engines else "none"


def backtest() -> list[BacktestRow]:
    """Each row predicted by fits that had not seen its model, accelerator or engine."""
    intervals = json.loads(_file().read_text("utf-8"))["intervals"]
    found = _left_out(rows())
    return [_backtest_row(row, error, intervals[level], level) for row, error, level in found]


def _left_out(measured: Sequence[Row]) -> list[tuple[Row, float, str]]:
    return [
        *held_out(measured, lambda row: f"{row.pair} {row.model}", "pair"),
        *held_out(measured, lambda row: row.accelerator, "engine"),
        *held_out(measured, lambda row: row.engine, "none"),
    ]


def _backtest_row(row: Row, error: float, bounds: Mapping[str, float], level: str) -> BacktestRow:
    value = row.observed * float(np.exp(error))
    left = {"pair": "model left out", "engine": "accelerator left out", "none": "engine left out"}
    return BacktestRow(
        source=f"{row.engine}, {left[level]}",
        quantity=row.metric,
        case=f"{row.model} {row.accelerator} batch {row.replica.batch:g}",
        observed=row.observed,
        value=value,
        low=value * float(np.exp(bounds["low"])),
        high=value * float(np.exp(bounds["high"])),
        set_aside=True,
        family=row.model,
        accelerator=row.accelerator,
    )


def fit() -> None:
    """Fit on all rows, take the intervals from the left-out errors, and write the file."""
    measured = rows()
    pool = Pool(measured)
    blocks = pool.fit()
    left_out = _left_out(measured)
    levels = ("pair", "engine", "none")
    document = {
        "fitted_by": "python -m service calibrate serving",
        "fitted_on": sorted({row.source for row in measured}),
        "rows": len(measured),
        "common": dict(zip(FITTED, map(float, np.exp(pool.logs(blocks, "", ""))), strict=True)),
        "engines": {name: _rounded(blocks[1 + i]) for i, name in enumerate(pool.engines)},
        "pairs": {
            name: _rounded(blocks[1 + len(pool.engines) + i]) for i, name in enumerate(pool.pairs)
        },
        "intervals": {
            level: _bounds([e for _, e, reached in left_out if reached == level])
            for level in levels
        },
        "memory_fraction": {"default": 0.9, "vllm": 0.9, "tensorrt-llm": 0.9, "llama.cpp": 0.97},
        "reserved_bytes": 1.5e9,
    }
    _file().write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _bounds(errors: Iterable[float]) -> dict[str, float]:
    """Log-ratios around a prediction that hold nine in ten of the left-out observations."""
    observed_over_value = -np.array(list(errors))
    low, high = np.quantile(observed_over_value, [0.05, 0.95])
    return {"low": round(float(min(low, 0.0)), 4), "high": round(float(max(high, 0.0)), 4)}


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 5) for value in values]


def _file() -> Path:
    return Path(str(files("service.core").joinpath("calibration_data/serving.json")))
