"""Judges the correction by a cluster's own runs on runs that were measured on one cluster.

`python -m service.calibration.cluster` (and `make backtest`, at its end) takes the rows of one
source as the runs of one cluster: half of them are known, the other half is predicted with and
without them, over many random halves. The general model is fitted anew without the rows named, so
that the cluster is new to it; coefficients that have seen them leave little to correct.

One factor is all that one half can teach of the other. Separate factors for kernels, tensor
collectives and gradients lower the median error of the other half by a few tenths of a percent
where they help (BigScience 8.5 to 8.1 %) and raise it where they do not; a Gaussian process over
the layout left it where it was. On vTrain's rows single
layouts take up to twice their neighbours' time: six of 46 rows hold nearly half of the mean
error, and no known half tells of them. So the median falls by two fifths and the mean hardly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from service.calibration.throughput_fit import fitted, levels_of
from service.calibration.throughput_rows import Job, accelerator, jobs
from service.core import throughput
from service.core.cluster_calibration import correction

MULTI_NODE = "vtrain_multi_node"
OTHERS = ("bigscience-a100", "internevo", "llm-foundry", "megatron-bridge", "narayanan-2021")
"""Further sources of one site each."""
HALVES = 100


class Case(NamedTuple):
    """A source taken as a cluster, and a general fit."""

    source: str
    fit: str
    """What the general fit has seen, in words."""
    keeps: Callable[[Job], bool]
    """Whether the general fit sees a row."""


class Judged(NamedTuple):
    """Relative errors of the half that was not known, mean over the halves."""

    mean_before: float
    mean_after: float
    median_before: float
    median_after: float
    inside: float
    """Share of the unknown half that the corrected 90 % interval holds."""


def cases() -> Iterator[Case]:
    """Multi-node rows of vTrain by ever blinder fits, then other sources as new clusters."""
    yield Case(MULTI_NODE, "all rows, as shipped", lambda job: True)
    yield Case(MULTI_NODE, "without these rows", partial(_of_another, MULTI_NODE))
    yield Case(MULTI_NODE, "without vTrain", lambda job: not job.source.startswith("vtrain"))
    yield Case(MULTI_NODE, "without any A100", lambda job: levels_of(job)[0] != "ampere")
    for name in OTHERS:
        yield Case(name, "without these rows", partial(_of_another, name))


def _of_another(source: str, job: Job) -> bool:
    return job.source != source


def log_ratios(case: Case) -> dict[Job, float]:
    """Logs of observed over predicted step time of the cluster's rows."""
    rows = [job for job in jobs() if job.source == case.source]
    values = fitted([job for job in jobs() if case.keeps(job)]).predict(rows)
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


def lines() -> Iterator[str]:
    """The table, a case a line."""
    yield "| cluster, half of its runs known | general fit | mean error | median error | inside |"
    yield "|---|---|---|---|---|"
    for case in cases():
        found = judged(log_ratios(case))
        yield (
            f"| {case.source} | {case.fit} | {found.mean_before:.1%} to {found.mean_after:.1%} "
            f"| {found.median_before:.1%} to {found.median_after:.1%} | {found.inside:.0%} |"
        )


def main() -> None:
    """Print the table."""
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
