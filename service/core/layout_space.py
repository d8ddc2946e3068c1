"""Every parallel layout that a job can have on a number of devices, as columns.

A layout is valid where all its divisions come out even: devices into ranks, heads over the
tensor group, experts over their groups, the sequence over the context group, and the global
batch over data-parallel ranks and micro-batches. Layers need not divide evenly over stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.architecture.network import Network
from service.core.finetuning import Objective
from service.core.hardware import Accelerator
from service.core.parallelism import Kernels, Layout

RECOMPUTATIONS = ("none", "selective", "half", "full")
UNEVEN_CHUNKS = (2, 4, 8)

Column = NDArray[np.int64]
Columns = dict[str, Column]


class Question(NamedTuple):
    """A job whose layout is sought."""

    network: Network
    kernels: Kernels
    accelerator: Accelerator
    sequence_length: float
    global_batch_size: float
    objective: Objective = Objective()
    """Whose further models need memory beside the network."""
    adapters: bool = False
    """The network is an adapter on a frozen base, which serves as the reference too."""


@dataclass(frozen=True)
class Space:
    """The degrees that a search may use; None leaves a degree free."""

    devices: tuple[int, ...]
    tensor: tuple[int, ...] | None = None
    pipeline: tuple[int, ...] | None = None
    context: tuple[int, ...] | None = None
    expert: tuple[int, ...] | None = None
    interleave: tuple[int, ...] | None = None
    micro_batch_size: tuple[int, ...] | None = None
    zero_stage: tuple[int, ...] = (0, 1, 2, 3)
    even: bool = True
    """The global batch must come out even; otherwise the last micro-batch may be partly empty."""


def fault(
    network: Network, layout: Layout, sequence_length: float, global_batch_size: float
) -> str | None:
    """Why a layout is not valid, in a sentence; None where it is. Floats only."""
    ranks = layout.tensor * layout.pipeline * layout.context
    heads, experts = network.heads(), network.experts()
    groups = layout.devices / layout.pipeline
    rules = (
        (layout.devices % ranks, f"{ranks:.0f} model-parallel ranks do not divide the devices"),
        (
            any(count % layout.tensor for count in heads),
            f"tensor {layout.tensor:.0f} does not divide the {' or '.join(map(str, heads))} heads",
        ),
        (
            layout.pipeline > max(network.layers, 1),
            f"{layout.pipeline:.0f} stages for {network.layers} layers",
        ),
        (sequence_length % layout.context, "context does not divide the sequence"),
        (
            global_batch_size % (layout.data * layout.micro_batch_size),
            "data-parallel ranks times the micro-batch do not divide the global batch",
        ),
        (
            layout.expert > 1 and (not experts or experts % layout.expert),
            f"expert {layout.expert:.0f} does not divide the {experts} experts",
        ),
        (groups % layout.expert_ways, "the expert groups do not divide the ranks of a stage"),
        (_uneven(network, layout), "chunks do not share the layers, or leave pipelines unfilled"),
    )
    return next((message for broken, message in rules if broken), None)


def _uneven(network: Network, layout: Layout) -> bool:
    if layout.interleave == 1:
        return False
    chunks = layout.pipeline * layout.interleave
    return bool(
        layout.pipeline == 1 or network.layers % chunks or layout.micro_batches % layout.pipeline
    )


@lru_cache(maxsize=1024)
def divisors(number: int) -> Sequence[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def layouts(
    network: Network, space: Space, sequence_length: int, global_batch_size: int
) -> tuple[Layout, Sequence[int]]:
    """All valid layouts but for the ZeRO stage, and the ZeRO stages to combine them with.

    Sequence parallelism goes with tensor parallelism: it moves the same bytes, keeps less and is
    never slower, so a layout without it cannot win.
    """
    columns = _ranks(network, space, sequence_length)
    columns = _batches(columns, space, global_batch_size)
    columns = _experts(columns, space, network.experts())
    columns = _chunks(columns, space, network.layers, global_batch_size)
    numbers = {name: column.astype(np.float64) for name, column in columns.items()}
    numbers["sequence_parallel"] = (numbers["tensor"] > 1).astype(np.float64)
    data = numbers.pop("data")
    layout = Layout(**numbers, global_batch_size=float(global_batch_size))
    return layout, space.zero_stage if np.any(data * numbers["context"] > 1) else (0,)


def _cross(columns: Columns, name: str, values: Sequence[int]) -> Columns:
    """Each row with each value of one more column."""
    count = len(next(iter(columns.values())))
    crossed = {key: np.repeat(column, len(values)) for key, column in columns.items()}
    crossed[name] = np.tile(np.array(values, dtype=np.int64), count)
    return crossed


def _keep(columns: Columns, rule: Callable[[Mapping[str, Column]], NDArray[np.bool_]]) -> Columns:
    kept = rule(columns)
    return {name: column[kept] for name, column in columns.items()}


def _free(given: tuple[int, ...] | None, found: Sequence[int]) -> Sequence[int]:
    return [value for value in given if value in found] if given is not None else found


def _ranks(network: Network, space: Space, sequence_length: int) -> Columns:
    heads = gcd(*network.heads()) if network.heads() else 1
    largest = max(space.devices)
    tensor = _free(space.tensor, divisors(heads))
    stages = range(1, min(max(network.layers, 1), largest) + 1)
    context = divisors(sequence_length) if network.tokens and network.heads() else [1]
    columns: Columns = {"devices": np.array(space.devices, dtype=np.int64)}
    columns = _cross(columns, "tensor", tensor)
    columns = _keep(columns, lambda c: c["devices"] % c["tensor"] == 0)
    columns = _cross(columns, "pipeline", _free(space.pipeline, stages))
    columns = _keep(columns, lambda c: c["devices"] % (c["tensor"] * c["pipeline"]) == 0)
    columns = _cross(columns, "context", _free(space.context, context))
    ranks = columns["tensor"] * columns["pipeline"] * columns["context"]
    columns["data"] = columns["devices"] // ranks
    return _keep(columns, lambda c: c["data"] * ranks == c["devices"])


def _batches(columns: Columns, space: Space, batch: int) -> Columns:
    sizes = _free(space.micro_batch_size, divisors(batch)) if space.even else None
    columns = _cross(columns, "micro_batch_size", sizes or space.micro_batch_size or [1])
    if not space.even:
        return _keep(columns, lambda c: (c["data"] * c["micro_batch_size"] <= batch) | _least(c))
    return _keep(columns, lambda c: batch % (c["data"] * c["micro_batch_size"]) == 0)


def _least(columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    least: NDArray[np.bool_] = columns["micro_batch_size"] == columns["micro_batch_size"].min()
    return least


def _experts(columns: Columns, space: Space, experts: int) -> Columns:
    if not experts:
        return columns
    columns = _cross(columns, "expert", _free(space.expert, divisors(experts)))
    columns = _cross(columns, "expert_tensor", [0, 1])
    columns["expert_tensor"] = np.where(columns["expert_tensor"] > 0, columns["tensor"], 1)
    columns = _keep(columns, lambda c: _group(c) % (c["expert"] * c["expert_tensor"]) == 0)
    return _unique(columns)


def _group(columns: Mapping[str, Column]) -> Column:
    return columns["devices"] // columns["pipeline"]


def _unique(columns: Columns) -> Columns:
    _, first = np.unique(np.stack(list(columns.values())), axis=1, return_index=True)
    first.sort()
    return {name: column[first] for name, column in columns.items()}


def _chunks(columns: Columns, space: Space, layers: int, batch: int) -> Columns:
    """Chunks a stage: those that share the layers evenly; 2, 4 or 8 where none can."""
    choices = sorted({*divisors(max(layers, 1)), *UNEVEN_CHUNKS})
    columns = _cross(columns, "interleave", _free(space.interleave, choices))
    step = columns["data"] * columns["micro_batch_size"]
    plain = columns["interleave"] == 1
    chunks = columns["pipeline"] * columns["interleave"]
    uneven = (layers % columns["pipeline"] > 0) & np.isin(columns["interleave"], UNEVEN_CHUNKS)
    shared = (layers % chunks == 0) | (uneven & (chunks <= layers))
    full = (batch // step) % columns["pipeline"] == 0
    return _keep(columns, lambda c: plain | ((c["pipeline"] > 1) & shared & full))
