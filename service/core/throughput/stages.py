"""The pipeline stages of a job that can be the slowest, folded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.core.architecture.network import Network
from service.core.numeric import Number
from service.core.parallelism import Kernels
from service.core.throughput.work import Work, WorkTable, table


class Stages(NamedTuple):
    """The work of a pipeline for samples of one length; floats, or arrays once stacked."""

    whole: Work
    """The sum over all stages; of one stage, that one."""
    slowest: tuple[Work, ...]
    """The stages of which one is the slowest."""
    key_value_heads: Number
    expert_copies: Number
    """Experts that see a token, in the layer with the most of them; at least 1."""


@lru_cache(maxsize=512)
def stage_tables(network: Network, kernels: Kernels, pipeline: int) -> tuple[WorkTable, ...]:
    """Tables of the stages that no other stage exceeds in every field."""
    if pipeline == 1:
        return (table(network, kernels),)
    found = [table(network, kernels, pipeline, stage) for stage in _distinct(network, pipeline)]
    kept: list[WorkTable] = []
    for candidate in found:
        if not any(_exceeds(other, candidate) for other in kept):
            kept = [other for other in kept if not _exceeds(candidate, other)] + [candidate]
    return tuple(kept)


def _distinct(network: Network, pipeline: int) -> Iterator[int]:
    """One stage of each content: how many layers of each kind, and which end."""
    seen = set()
    runs = [network.runs(pipeline, stage) for stage in range(pipeline)]
    for stage, run in enumerate(runs):
        held: Counter[int] = Counter()
        for leaves, count in run:
            held[id(leaves)] += count
        content = (frozenset(held.items()), stage == 0, stage == pipeline - 1)
        if content not in seen:
            seen.add(content)
            yield stage


def _exceeds(a: WorkTable, b: WorkTable) -> bool:
    """Whether `a` is at least `b` in every field."""
    pairs = ((a.fixed, b.fixed), (a.linear, b.linear), (a.square, b.square))
    windows = dict(a.windowed)
    return all(x >= y for p, q in pairs for x, y in zip(p, q, strict=True)) and all(
        windows.get(window, 0.0) >= amount for window, amount in b.windowed
    )


@lru_cache(maxsize=512)
def stages(network: Network, kernels: Kernels, pipeline: int, sequence_length: float) -> Stages:
    """The stages of a job, for samples of that length."""
    whole = table(network, kernels)
    found = stage_tables(network, kernels, pipeline)
    slowest = tuple(stage.at(sequence_length) for stage in found)
    return Stages(
        slowest[0] if pipeline == 1 else whole.at(sequence_length),
        slowest,
        whole.key_value_heads,
        max(_expert_copies(network), 1.0),
    )


def has_experts(network: Network) -> bool:
    """Whether tokens are routed to some of several experts."""
    return _expert_copies(network) > 0.0


@lru_cache(maxsize=256)
def _expert_copies(network: Network) -> float:
    copies = (leaf.routing.active for leaf in network.distinct() if leaf.routing)
    return float(max(copies, default=0.0))


def stack(items: Sequence[Stages]) -> Stages:
    """Several jobs' stages as one, each field an array with a job an element."""
    slots = max(len(item.slowest) for item in items)
    padded = [item.slowest + item.slowest[:1] * (slots - len(item.slowest)) for item in items]
    return Stages(
        _stacked([item.whole for item in items]),
        tuple(_stacked([works[slot] for works in padded]) for slot in range(slots)),
        np.array([item.key_value_heads for item in items], dtype=float),
        np.array([item.expert_copies for item in items], dtype=float),
    )


def _stacked(works: Sequence[Work]) -> Work:
    return Work(*np.array(works, dtype=float).T.copy())
