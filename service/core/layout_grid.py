"""Layouts as a grid of which only those asked for are evaluated, some thousands at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core import throughput
from service.core.architecture.network import Network
from service.core.estimate import admission, memory_bounds, memory_stages
from service.core.fastest import Rows
from service.core.layout_space import Question, Space, layouts
from service.core.memory import MemoryTable, in_flight, per_device
from service.core.numeric import FloatArray
from service.core.parallelism import Kernels, Layout
from service.core.stacking import stack, take
from service.core.throughput import Stages
from service.core.uncertainty import relative

_PART = 8192
"""Layouts evaluated at once: what they need for it stays within tens of megabytes."""


def _work(question: Question, pipelines: tuple[int, ...]) -> Stages:
    kernels = replace(question.kernels, optimizer="adamw", offload="none")  # not of the layers
    return _work_tables(question.network, kernels, question.sequence_length, pipelines)


@lru_cache(maxsize=256)
def _work_tables(
    network: Network, kernels: Kernels, sequence: float, pipelines: tuple[int, ...]
) -> Stages:
    """What takes time, with one row for each pipeline degree, or one for all."""
    tables = [throughput.stages(network, kernels, p, sequence) for p in pipelines]
    return stack(tables, collapse=True)


def _parts(rows: Rows) -> list[Rows]:
    return [rows[first : first + _PART] for first in range(0, len(rows), _PART)]


class Grid:
    """Valid layouts of which only those asked for are evaluated."""

    def __init__(self, question: Question, space: Space) -> None:
        network, _, _, sequence, batch = question
        self.question = question
        self.base, stages = layouts(network, space, int(sequence), int(batch))
        self.stages = np.array(stages, dtype=np.float64)
        self.pipelines: NDArray[Any] = np.asarray(self.base.pipeline)
        self.count = len(self.pipelines)
        self.known: dict[str, tuple[NDArray[Any], Stages]] = {}

    def layout(self, rows: Rows, stages: Rows) -> Layout:
        """Rows with the ZeRO stage of that index."""
        return replace(take(self.base, rows), zero_stage=self.stages[stages])

    def held(self, recomputation: str, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Admission and peak bytes, [row, stage]."""
        network, kernels, accelerator, _, _ = self.question
        named = replace(kernels, recomputation=recomputation)
        peak = np.empty((len(rows), len(self.stages)))
        degrees = self.pipelines[rows]
        for pipeline in np.unique(degrees):
            for at in _parts(np.flatnonzero(degrees == pipeline)):
                peak[at] = self._peak(memory_stages(network, named, int(pipeline)), rows[at])
        code = admission(relative(peak, *memory_bounds(network, named)), accelerator.memory_bytes)
        return np.asarray(code, dtype=np.float64), peak

    def _peak(self, tables: Sequence[tuple[MemoryTable, float]], rows: Rows) -> FloatArray:
        """Of rows of one pipeline degree: that of the stage which needs most."""
        base = replace(take(self.base, rows[:, None]), zero_stage=self.stages)
        sequence = self.question.sequence_length
        parts = [per_device(table, base, sequence, in_flight(base, i)) for table, i in tables]
        peak: FloatArray = np.max([part.peak for part in parts], axis=0)
        return peak

    def seconds(self, recomputation: str, rows: Rows, stages: Rows) -> FloatArray:
        """Of a step."""
        stacked, place = self._tables(recomputation, rows)
        slices = _parts(np.arange(len(rows)))
        parts = [self._step(stacked, place[at], rows[at], stages[at]) for at in slices]
        return np.concatenate(parts)

    def _step(self, stacked: Stages, place: Rows, rows: Rows, stages: Rows) -> FloatArray:
        _, kernels, accelerator, _, _ = self.question
        step = throughput.step(
            take(stacked, place),
            throughput.state_bytes(kernels),
            self.layout(rows, stages),
            throughput.device(accelerator, kernels.compute_format),
            throughput.coefficients(accelerator, kernels),
        )
        return np.broadcast_to(np.asarray(step.total_seconds), rows.shape)

    def _tables(self, recomputation: str, rows: Rows) -> tuple[Stages, Rows]:
        """What takes time by pipeline degree, and which of it belongs to each row."""
        wanted = np.unique(self.pipelines[rows])
        pipelines, tables = self.known.get(recomputation, (np.empty(0), None))
        if tables is None or not np.isin(wanted, pipelines).all():
            pipelines = np.union1d(pipelines, wanted)
            kernels = replace(self.question.kernels, recomputation=recomputation)
            question = self.question._replace(kernels=kernels)
            tables = _work(question, tuple(map(int, pipelines)))
            self.known[recomputation] = pipelines, tables
        return tables, np.searchsorted(pipelines, self.pipelines[rows])


def caches() -> tuple[Any, ...]:
    """What must be forgotten when a calibration changes while the program runs."""
    return (_work_tables,)
