"""Layouts as a grid of which only those asked for are evaluated, some thousands at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core import throughput
from service.core.architecture.network import Network
from service.core.estimate import admission, memory_bounds, memory_stages
from service.core.fastest import Names, Rows
from service.core.finetuning import Objective
from service.core.layout_space import Question, Space, layouts
from service.core.memory import MemoryTable, in_flight, per_device
from service.core.memory.objectives import held_for
from service.core.numeric import FloatArray
from service.core.parallelism import Kernels, Layout
from service.core.stacking import stack, take
from service.core.throughput import Stages
from service.core.uncertainty import relative

T = TypeVar("T")
_TOGETHER, FOLDED = 1000, 100
_PART = 8192
"""Layouts evaluated at once: what they need for it stays within tens of megabytes."""


class _Memory(NamedTuple):
    """What the memory of a job depends on, beside its layout."""

    table: MemoryTable
    """[stage], those of one pipeline degree after those of another, for one recomputation after
    the other; or one for all."""
    stage: FloatArray
    """Index of each stage in its pipeline."""
    first: Rows
    """Where the stages of each of these begin, and where the last ones end."""
    bounds: tuple[float, float]


def _memory(question: Question, names: Names, pipelines: tuple[int, ...]) -> _Memory:
    network, kernels, _, _, _, objective, adapters = question
    return _memory_tables(network, _named(kernels, names), pipelines, objective, adapters)


def _named(kernels: Kernels, names: Names) -> tuple[Kernels, ...]:
    return tuple(replace(kernels, recomputation=name) for name in names)


@lru_cache(maxsize=256)
def _memory_tables(
    network: Network,
    kernels: tuple[Kernels, ...],
    pipelines: tuple[int, ...],
    objective: Objective,
    adapters: bool,
) -> _Memory:
    """Memory's tables by kernels and pipeline degree, the degrees fastest."""
    found = [memory_stages(network, each, p) for each in kernels for p in pipelines]
    tables, indices = zip(*(pair for stages in found for pair in stages), strict=True)
    if objective != Objective():
        tables = tuple(held_for(table, objective, adapters) for table in tables)
    return _Memory(
        stack(tables, collapse=True),
        np.array(indices),
        np.cumsum([0, *map(len, found)]),
        memory_bounds(network, kernels[0]),
    )


def _work(question: Question, names: Names, pipelines: tuple[int, ...]) -> Stages:
    kernels = replace(question.kernels, optimizer="adamw", offload="none")  # not of the layers
    named = _named(kernels, names)
    return _work_tables(question.network, named, question.sequence_length, pipelines)


@lru_cache(maxsize=256)
def _work_tables(
    network: Network, kernels: tuple[Kernels, ...], sequence: float, pipelines: tuple[int, ...]
) -> Stages:
    """What takes time, by kernels and pipeline degree, or one row for all."""
    tables = [throughput.stages(network, each, p, sequence) for each in kernels for p in pipelines]
    return stack(tables, collapse=True)


def _parts(rows: Rows) -> list[slice]:
    return [slice(first, first + _PART) for first in range(0, len(rows), _PART)]


class Grid:
    """Valid layouts of which only those asked for are evaluated."""

    def __init__(self, question: Question, space: Space) -> None:
        network, _, _, sequence, batch, *_ = question
        self.question = question
        self.base, stages = layouts(network, space, int(sequence), int(batch))
        self.stages = np.array(stages, dtype=np.float64)
        self.pipelines: NDArray[Any] = np.asarray(self.base.pipeline)
        self.count = len(self.pipelines)
        self.work = self.count
        """Layouts evaluated so far; what is evaluated together counts as `_TOGETHER` at least,
        and what is folded for it as `FOLDED` an operator."""
        self.known: dict[Any, tuple[NDArray[Any], Any]] = {}

    def layout(self, rows: Rows, stages: Rows) -> Layout:
        """Rows with the ZeRO stage of that index."""
        return replace(take(self.base, rows), zero_stage=self.stages[stages])

    def held(self, names: Names, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Admission and peak bytes, [recomputation, row, stage]."""
        numbers, many = np.arange(len(names)).repeat(len(rows)), np.tile(rows, len(names))
        tables, place = self._tables(_memory, names, numbers, many)
        parts = [self._peak(tables, place[at], many[at]) for at in _parts(many)]
        peak = np.concatenate(parts).reshape(len(names), len(rows), -1)
        code = admission(relative(peak, *tables.bounds), self.question.accelerator.memory_bytes)
        return np.asarray(code, dtype=np.float64), peak

    def _peak(self, tables: _Memory, place: Rows, rows: Rows) -> FloatArray:
        """Of the stage that needs most; a row has an element for each stage of its pipeline."""
        numbers = np.diff(tables.first)[place]
        start = np.cumsum(numbers) - numbers
        stage = np.arange(numbers.sum()) + np.repeat(tables.first[place] - start, numbers)
        table, index = take((tables.table, tables.stage), stage[:, None])
        held = take(self.base, np.repeat(rows, numbers)[:, None])
        base = replace(held, zero_stage=self.stages)
        parts = per_device(table, base, self.question.sequence_length, in_flight(base, index))
        peak = np.broadcast_to(parts.peak, (len(stage), len(self.stages)))
        self.work += _TOGETHER + peak.size
        return np.maximum.reduceat(peak, start)

    def seconds(self, names: Names, numbers: Rows, rows: Rows, stages: Rows) -> FloatArray:
        """Of a step, each row with the recomputation of that number."""
        stacked, place = self._tables(_work, names, numbers, rows)
        parts = [self._step(stacked, place[at], rows[at], stages[at]) for at in _parts(rows)]
        return np.concatenate(parts)

    def _step(self, stacked: Stages, place: Rows, rows: Rows, stages: Rows) -> FloatArray:
        _, kernels, accelerator, *_ = self.question
        self.work += _TOGETHER + len(rows)
        step = throughput.step(
            take(stacked, place),
            throughput.state_bytes(kernels),
            self.layout(rows, stages),
            throughput.device(accelerator, kernels.compute_format),
            throughput.coefficients(accelerator, kernels),
        )
        return np.broadcast_to(np.asarray(step.total_seconds), rows.shape)

    def _tables(
        self,
        stacked: Callable[[Question, Names, tuple[int, ...]], T],
        names: Names,
        numbers: Rows,
        rows: Rows,
    ) -> tuple[T, Rows]:
        """Tables by recomputation and pipeline degree, and which of them belongs to each row."""
        wanted = np.unique(self.pipelines[rows])
        pipelines, tables = self.known.get((stacked, names), (np.empty(0), None))
        if tables is None or not np.isin(wanted, pipelines).all():
            pipelines = np.union1d(pipelines, wanted)
            tables = stacked(self.question, names, tuple(map(int, pipelines)))
            self.known[stacked, names] = pipelines, tables
            self.work += FOLDED * len(names) * len(self.question.network.distinct())
        return tables, numbers * len(pipelines) + np.searchsorted(pipelines, self.pipelines[rows])


def caches() -> tuple[Any, ...]:
    """What must be forgotten when a calibration changes while the program runs."""
    return _memory_tables, _work_tables
