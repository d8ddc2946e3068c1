"""Judges the correction by a cluster's own runs on runs that were measured on one cluster.

`python -m service.calibration.cluster` takes the multi-node rows of vTrain as that cluster: half
of them are known, the other half is predicted with and without them, over many random halves.
The general model is fitted anew without these rows, so that the cluster is new to it; the
coefficients that ship have seen them and leave little to correct.

As it stands there is nothing that one half could teach of the other: the blind fit's errors have a
median of 0.5 % and their tail is single rows (one layout took twice its neighbours' time). A fit
without any vTrain row is as unbiased, and a Gaussian process over tensor, pipeline, micro-batch,
devices, width and micro-batches a step left the other half's mean error where it was at the best
of 75 settings, so the correction stays one factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from service.calibration.throughput_fit import fitted
from service.calibration.throughput_rows import Job, accelerator, jobs
from service.core import throughput
from service.core.cluster_calibration import correction

SOURCE = "vtrain_multi_node"
HALVES = 200


class Judged(NamedTuple):
    """Relative errors of the half that was not known, mean over the halves."""

    mean_before: float
    mean_after: float
    median_before: float
    median_after: float
    inside: float
    """Share of the unknown half that the corrected 90 % interval holds."""


def log_ratios(seen: bool) -> dict[Job, float]:
    """Logs of observed over predicted; `seen`: by the shipped coefficients, fitted on them too."""
    rows = [job for job in jobs() if job.source == SOURCE]
    kept = [job for job in jobs() if seen or job.source != SOURCE]
    values = fitted(kept).predict(rows)
    return {job: float(np.log(job.step_seconds / v)) for job, v in zip(rows, values, strict=True)}


def judged(ratios: dict[Job, float], halves: int = HALVES) -> Judged:
    """The correction's effect over random halves; the same ones every time."""
    bounds = throughput.bounds(accelerator(next(iter(ratios)).accelerator))
    found = [_half(known, held, bounds) for known, held in _halves(list(ratios.values()), halves)]
    return Judged(*(fmean(column) for column in zip(*found, strict=True)))


def _halves(values: Sequence[float], count: int) -> Iterator[tuple[list[float], list[float]]]:
    order = np.random.default_rng(0)
    for _ in range(count):
        mixed = [values[i] for i in order.permutation(len(values))]
        yield mixed[::2], mixed[1::2]


def _half(known: list[float], held: list[float], bounds: tuple[float, float]) -> Judged:
    own = correction(known, bounds)
    shift = float(np.log(own.factor))
    before = [abs(float(np.expm1(-ratio))) for ratio in held]
    after = [abs(float(np.expm1(shift - ratio))) for ratio in held]
    inside = fmean(own.low <= ratio - shift <= own.high for ratio in held)
    return Judged(fmean(before), fmean(after), median(before), median(after), inside)


def main() -> None:
    """Print both cases."""
    for title, seen in (("the cluster is new to the fit", False), ("the fit has seen it", True)):
        found = judged(log_ratios(seen))
        print(
            f"{title}: mean error {found.mean_before:.1%} -> {found.mean_after:.1%}, median "
            f"{found.median_before:.1%} -> {found.median_after:.1%}, inside {found.inside:.0%}"
        )


if __name__ == "__main__":
    main()
