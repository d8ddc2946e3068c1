"""The layouts that a job can run with: all of them evaluated, the best ones kept.

Memory is evaluated for every valid layout, time, money and carbon for every one that fits; the
answer is the set that nothing else beats in all four of time, money, carbon and devices. No
layout is left out by a rule of thumb.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.estimate import (
    AT_RISK,
    FITS,
    Estimate,
    Prepared,
    admission,
    evaluate,
    prepare,
    worst_memory,
)
from service.core.layout_space import RECOMPUTATIONS, Question, Space, layouts
from service.core.memory import MemoryParts
from service.core.numeric import FloatArray
from service.core.parallelism import Kernels, Layout, plain
from service.core.spending import Site
from service.core.stacking import mapped, stack, take
from service.core.uncertainty import relative

OBJECTIVES = ("time", "usd", "kgco2e", "devices")


class Terms(NamedTuple):
    """What money and carbon depend on."""

    tokens: float
    site: Site
    usd_per_device_hour: float


class Caps(NamedTuple):
    """Limits that a layout must keep. Infinite where there is none."""

    wall_clock_seconds: float = float("inf")
    usd: float = float("inf")
    kgco2e: float = float("inf")
    margin_bytes: float = 0.0
    """Memory that must stay free of the expected peak."""
    at_risk: bool = False
    """Also layouts whose memory interval straddles the capacity."""


class _Block(NamedTuple):
    """All valid layouts under one recomputation, with what memory says of them."""

    kernels: Kernels
    base: Layout
    """Columns of all but the ZeRO stage."""
    zero_stages: FloatArray
    jobs: Prepared
    """Tables by pipeline degree."""
    place: NDArray[np.intp]
    """Which of the tables belongs to a layout of `base`."""
    admission: FloatArray
    """Of each layout with each ZeRO stage, the stages fastest."""
    peak: FloatArray

    def layout(self, rows: NDArray[np.intp]) -> Layout:
        """Some of the layouts, as columns."""
        first, stage = np.divmod(rows, len(self.zero_stages))
        return replace(take(self.base, first), zero_stage=self.zero_stages[stage])

    def job(self, rows: NDArray[np.intp]) -> Prepared:
        """What belongs to some of the layouts; memory's tables are not among it."""
        place = self.place[rows // len(self.zero_stages)]
        return replace(self.jobs, work=take(self.jobs.work, place))


@dataclass(frozen=True)
class Found:
    """The outcome of a search; columns over the layouts that keep all caps."""

    question: Question
    terms: Terms
    considered: int
    """Valid layouts, the ZeRO stages and recomputations counted."""
    fitting: int
    """Those whose memory fits."""
    layouts: Layout
    recomputation: NDArray[np.int64]
    """Indices into RECOMPUTATIONS."""
    objectives: FloatArray
    """[layout, objective] in the order of OBJECTIVES."""
    pareto: Sequence[int]
    """Layouts that no other one beats in every objective, the fastest first."""

    def best(self, objective: str = "time") -> int | None:
        """The layout that is best in one objective; ties go to the next ones."""
        if not len(self.objectives):
            return None
        first = OBJECTIVES.index(objective)
        order = [first, *(i for i in range(len(OBJECTIVES)) if i != first)]
        keys = tuple(self.objectives[:, column] for column in reversed(order))
        return int(np.lexsort(keys)[0])

    def at(self, index: int) -> tuple[Layout, str, Estimate]:
        """One layout with plain numbers, its recomputation and its estimate."""
        layout = plain(take(self.layouts, index))
        recomputation = RECOMPUTATIONS[int(self.recomputation[index])]
        return layout, recomputation, estimate_of(self.question, self.terms, layout, recomputation)


def estimate_of(question: Question, terms: Terms, layout: Layout, recomputation: str) -> Estimate:
    """The estimate of one layout."""
    network, kernels, accelerator, sequence, *_ = question
    named = replace(kernels, recomputation=recomputation)
    job = prepare(network, named, accelerator, int(layout.pipeline), sequence)
    return evaluate(job, layout, terms.tokens, terms.site, terms.usd_per_device_hour)


def search(
    question: Question,
    terms: Terms,
    space: Space,
    caps: Caps | None = None,
    recomputations: Sequence[str] = RECOMPUTATIONS,
) -> Found:
    """Every valid layout evaluated; see Found."""
    limits = caps or Caps()
    considered = fitting = 0
    layout_parts: list[Layout] = []
    codes: list[NDArray[np.int64]] = []
    objectives: list[FloatArray] = []
    for block in _blocks(question, space, recomputations):
        rows = np.flatnonzero(_allowed(block, limits))
        considered += len(block.peak)
        fitting += len(rows)
        columns = _objectives(block, rows, terms)
        within = _within(columns, limits)
        layout_parts.append(block.layout(rows[within]))
        codes.append(np.full(len(within), RECOMPUTATIONS.index(block.kernels.recomputation)))
        objectives.append(columns[within])
    table = np.concatenate(objectives or [np.empty((0, len(OBJECTIVES)))])
    return Found(
        question,
        terms,
        considered,
        fitting,
        _joined(layout_parts),
        np.concatenate(codes or [np.empty(0, dtype=np.int64)]),
        table,
        pareto(table),
    )


def _allowed(block: _Block, caps: Caps) -> NDArray[np.bool_]:
    limit = block.jobs.device.memory_bytes - caps.margin_bytes
    code = AT_RISK if caps.at_risk else FITS
    allowed: NDArray[np.bool_] = (block.admission <= code) & (block.peak <= limit)
    return allowed


def _joined(parts: Sequence[Layout]) -> Layout:
    names = [field.name for field in fields(Layout)]
    if not parts:
        return Layout(**{name: np.empty(0) for name in names})
    columns = {}
    for name in names:
        arrays = [np.broadcast_to(getattr(p, name), p.devices.shape) for p in parts]
        columns[name] = np.concatenate(arrays)
    return Layout(**columns)


def _blocks(question: Question, space: Space, recomputations: Sequence[str]) -> Iterator[_Block]:
    network, kernels, _, sequence, batch, *_ = question
    base, stages = layouts(network, space, int(sequence), int(batch))
    if not len(base.tensor):
        return
    pipelines, place = np.unique(base.pipeline, return_inverse=True)
    shape = (len(place), len(stages))
    grid = replace(
        mapped(base, lambda array: array[:, None]),
        zero_stage=np.array(stages, dtype=np.float64)[None, :],
    )

    for recomputation in recomputations:
        named = replace(kernels, recomputation=recomputation)
        jobs = _jobs(question._replace(kernels=named), tuple(map(int, pipelines)))
        parts, _ = worst_memory(
            replace(jobs, memory_stages=take(jobs.memory_stages, place[:, None])), grid
        )
        peak = np.broadcast_to(np.asarray(parts.peak), shape).ravel()
        code = admission(relative(peak, *jobs.memory_bounds), jobs.device.memory_bytes)
        yield _Block(
            named,
            base,
            np.array(stages, dtype=np.float64),
            jobs,
            place,
            np.asarray(code, dtype=np.float64),
            peak,
        )


@lru_cache(maxsize=64)
def _jobs(question: Question, pipelines: tuple[int, ...]) -> Prepared:
    """Prepared jobs whose tables hold one row for each pipeline degree, or one for all."""
    network, kernels, accelerator, sequence, *_ = question
    jobs = [prepare(network, kernels, accelerator, p, sequence) for p in pipelines]
    return replace(
        jobs[0],
        memory_stages=stack([job.memory_stages for job in jobs], collapse=True),
        work=stack([job.work for job in jobs], collapse=True),
    )


_NO_MEMORY = MemoryParts(*(0.0,) * len(MemoryParts._fields))
"""Memory is known by then, and no objective depends on it."""


def _objectives(block: _Block, rows: NDArray[np.intp], terms: Terms) -> FloatArray:
    if not len(rows):
        return np.empty((0, len(OBJECTIVES)))
    layout, job = block.layout(rows), block.job(rows)
    answer = evaluate(
        job, layout, terms.tokens, terms.site, terms.usd_per_device_hour, held=(_NO_MEMORY, 0.0)
    )
    columns = (
        answer.wall_clock_seconds.value,
        answer.spent.usd.value,
        answer.spent.total_kgco2e.value,
        layout.devices,
    )
    return np.stack([np.broadcast_to(c, len(rows)) for c in columns], axis=1)


def _within(objectives: FloatArray, caps: Caps) -> NDArray[np.intp]:
    limits = np.array([caps.wall_clock_seconds, caps.usd, caps.kgco2e, np.inf])
    return np.flatnonzero((objectives <= limits).all(axis=1))


def pareto(objectives: FloatArray) -> list[int]:
    """Rows that no other row beats: at least as good in each column and better in one.

    Of rows that are equal in all columns the first stands for all. The fastest comes first.
    """
    order = np.lexsort(objectives.T[::-1])
    found: list[int] = []
    while len(order):
        best = order[0]
        found.append(int(best))
        order = order[1:]
        order = order[(objectives[order] < objectives[best]).any(axis=1)]
    return found


def caches() -> tuple[Any, ...]:
    """What must be forgotten when a calibration changes while the program runs."""
    return (_jobs,)
