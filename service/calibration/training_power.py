"""Measured training runs: what each drew, and what is predicted without having seen it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from statistics import fmean, median
from typing import Any

import numpy as np

from service.calibration.kernel_power import AWAKE_SHARE
from service.core import energy

Row = Mapping[str, str]


def rows(name: str) -> list[Row]:
    """The measured rows of one file under `service/calibration/data`."""
    text = files("service.calibration").joinpath(f"data/{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def step_share(row: Row, read: Callable[[str], float]) -> float:
    """The step's power share at a row's utilisation, by the coefficients that `read` gives."""
    load = read("slope_16-bit") * float(row["utilization"])
    load += read("slope_bandwidth") * read("typical_bandwidth_share")
    return AWAKE_SHARE + (1.0 - AWAKE_SHARE) * (1.0 - math.exp(-load))


def host_share(row: Row, read: Callable[[str], float]) -> float:
    """What the node draws beyond its devices, as a share of their TDP."""
    return float(row["watts"]) / float(row["tdp_watts"]) - step_share(row, read)


def full_load_watts(used: Iterable[Row], read: Callable[[str], float]) -> float:
    """The full-load power that explains the measured rows: the mean of logarithms; W."""
    return math.exp(fmean(math.log(float(row["watts"]) / step_share(row, read)) for row in used))


def by_accelerator(table: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows that envelopes are fitted on, by accelerator."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        if row["use"] == "envelope":
            groups.setdefault(row["accelerator"], []).append(row)
    return groups


def spread(logs: Sequence[float]) -> dict[str, Any]:
    """A symmetric 90 % half-width of log-ratios: Student's t, since the runs are few."""
    from scipy.stats import t

    count = len(logs)
    deviation = math.sqrt(sum(x * x for x in logs) / count)
    half = float(t.ppf(0.95, count)) * deviation
    return {"low": round(-half, 4), "high": round(half, 4), "unit": "log-ratio", "runs": count}


def predicted_watts(row: Row, read: Callable[[str], float], training: Sequence[Row]) -> float:
    """Watts a device within the row's own scope, never with an envelope fitted on that row."""
    share = step_share(row, read)
    if row["use"] == "envelope":
        peers = [r for r in training if r["accelerator"] == row["accelerator"] and r is not row]
        return full_load_watts([r for r in peers if r["use"] == "envelope"] or [row], read) * share
    tdp = float(row["tdp_watts"])
    host = float(energy.host_watts(tdp)) if row["scope"] == "it" else 0.0
    return tdp * share + host


def judged(training: Sequence[Row]) -> list[Row]:
    """The runs that a prediction can be judged on: not fitted on, hardware known."""
    sizes = {name: len(group) for name, group in by_accelerator(training).items()}
    return [
        row
        for row in training
        if row["use"] == "check" or (row["use"] == "envelope" and sizes[row["accelerator"]] > 1)
    ]


def log_ratios(
    used: Sequence[Row], training: Sequence[Row], read: Callable[[str], float]
) -> list[float]:
    """Logarithms of measured over predicted power."""
    return [math.log(float(row["watts"]) / predicted_watts(row, read, training)) for row in used]


def typical() -> dict[str, Any]:
    """FLOPs over device-hours at the dense peak: median and 90 % of published runs."""
    shares = sorted(
        float(row["training_flops"])
        / (float(row["device_hours"]) * 3600.0 * float(row["peak_flops"]))
        for row in rows("typical_utilization")
    )
    low, high = np.quantile(shares, [0.05, 0.95])
    return {
        "value": round(median(shares), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "source": f"{len(shares)} published runs: 6ND over device-hours at the dense 16-bit peak",
    }
