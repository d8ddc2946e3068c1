"""Layouts: what a given one must satisfy, and the search for the best where none is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from service.core import estimate
from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.parallelism import Kernels, Layout

_NOWHERE = estimate.Site(0.0, 1.0)
_TENSOR = (1, 2, 4, 8)
_PIPELINE = (1, 2, 4, 8, 16)
_ZERO = (1, 3)
_MICRO = (1, 2, 4, 8)
_EXPERT = (1, 2, 4, 8, 16, 32, 64)
_CONTEXT = (1, 2, 4, 8)
_LONG = 16_384
MOST_DEVICES = 65_536


@dataclass(frozen=True)
class Question:
    """What a layout is sought for. None leaves a value to the search."""

    network: Network
    accelerator: Accelerator
    kernels: Kernels
    recomputations: tuple[str, ...]
    sequence_length: float
    global_batch_size: int
    micro_batch_size: int | None
    count: int | None


@dataclass(frozen=True)
class Found:
    """The best layout, and the recomputation that goes with it."""

    layout: Layout
    kernels: Kernels
    fits: bool


@lru_cache(maxsize=1024)
def search(question: Question) -> Found:
    """The layout on the fewest devices that fits and takes the least time.

    Where nothing fits, the one whose devices need least memory on the most devices.
    """
    for counts in _counts(question):
        found = [
            option
            for kernels in _kernels(question)
            for pipeline in _pipelines(question.network)
            if (option := _best(question, kernels, pipeline, counts))
        ]
        if found:
            best = min(found, key=lambda option: option.rank)
            if best.fits or counts[-1] >= (question.count or MOST_DEVICES):
                return Found(best.layout, best.kernels, best.fits)
    alone = Layout(
        devices=float(question.count or 1), global_batch_size=float(question.global_batch_size)
    )
    return Found(alone, question.kernels, False)


@dataclass(frozen=True)
class _Option:
    layout: Layout
    kernels: Kernels
    fits: bool
    rank: tuple[float, float, float]


def _counts(question: Question) -> Iterator[Sequence[int]]:
    """Numbers of devices in the order in which they are tried, some at a time."""
    if question.count is not None:
        yield (question.count,)
        return
    yield (1, 2, 4, 8)
    for low in (16, 128, 1_024, 8_192):
        yield tuple(low << i for i in range(4 if low == 8_192 else 3))


def _kernels(question: Question) -> Iterator[Kernels]:
    base = question.kernels
    for recomputation in question.recomputations:
        yield Kernels(
            base.precision,
            base.optimizer,
            recomputation,
            base.attention,
            base.implementation,
            base.gradient_precision,
            base.offload,
        )


def _pipelines(network: Network) -> Sequence[int]:
    return [p for p in _PIPELINE if p == 1 or p <= network.layers]


def _best(
    question: Question, kernels: Kernels, pipeline: int, counts: Sequence[int]
) -> _Option | None:
    """The best layout with this pipeline, out of all others at once."""
    layouts = _candidates(question, pipeline, counts)
    if layouts is None:
        return None
    job = estimate.prepare(
        question.network, kernels, question.accelerator, pipeline, question.sequence_length
    )
    answer = estimate.evaluate(job, layouts, 1.0, _NOWHERE, 0.0)
    shape = np.shape(layouts.devices)
    fits = np.broadcast_to(answer.admission == estimate.FITS, shape)
    peak = np.broadcast_to(answer.peak_bytes.value, shape)
    seconds = np.broadcast_to(answer.step_seconds.value, shape)
    order = np.lexsort((peak, np.where(fits, seconds, peak), layouts.devices, ~fits))
    i = int(order[0])
    chosen = _at(layouts, i)
    devices = float(chosen.devices) if fits[i] else -float(chosen.devices)
    measure = float(seconds[i]) if fits[i] else float(peak[i])
    return _Option(chosen, kernels, bool(fits[i]), (float(not fits[i]), devices, measure))


def _at(layouts: Layout, index: int) -> Layout:
    values = {
        name: float(np.broadcast_to(value, np.shape(layouts.devices))[index])
        for name, value in vars(layouts).items()
    }
    return Layout(**values)


def _candidates(question: Question, pipeline: int, counts: Sequence[int]) -> Layout | None:
    """Every layout that can be realised with this pipeline, as arrays; None where there is none."""
    micro = _MICRO if question.micro_batch_size is None else (question.micro_batch_size,)
    context = _CONTEXT if question.sequence_length > _LONG else (1,)
    axes = np.meshgrid(
        np.array(counts, float),
        np.array(_tensors(question), float),
        np.array(_ZERO, float),
        np.array(micro, float),
        np.array(_experts(question.network), float),
        np.array(context, float),
        indexing="ij",
    )
    devices, tensor, zero, samples, expert, ring = (axis.ravel() for axis in axes)
    batch = float(question.global_batch_size)
    data = devices / (tensor * pipeline * ring)
    node = question.accelerator.devices_per_node
    possible = (data >= 1) & (data == np.floor(data)) & (batch % (samples * data) == 0)
    possible &= (data * ring * tensor) % expert == 0
    possible &= (devices <= node) | (devices % node == 0)
    possible &= (pipeline == 1) | (zero < 3)
    if not possible.any():
        return None
    return Layout(
        devices=devices[possible],
        tensor=tensor[possible],
        pipeline=float(pipeline),
        context=ring[possible],
        expert=expert[possible],
        zero_stage=zero[possible],
        sequence_parallel=(tensor[possible] > 1).astype(float),
        micro_batch_size=samples[possible],
        global_batch_size=batch,
    )


def _tensors(question: Question) -> Sequence[int]:
    heads = question.network.heads()
    if not heads:
        return (1,)
    node = question.accelerator.devices_per_node
    return [t for t in _TENSOR if t <= node and all(h % t == 0 for h in heads)]


def _experts(network: Network) -> Sequence[int]:
    count = network.experts()
    return [e for e in _EXPERT if e == 1 or (count and count % e == 0)]
