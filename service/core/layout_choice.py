"""One layout for a request that names none, and what finding it costs.

Layouts are raced for the fastest that fits (`fastest`) over a grid of the usual degrees, which is
evaluated a part at a time (`layout_grid`); `search` evaluates all of them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

from service.core import layout_grid
from service.core.architecture.network import Network
from service.core.estimate import DOES_NOT_FIT, admission, memory_bounds
from service.core.fastest import Races, fastest
from service.core.formats import formats
from service.core.layout_grid import Grid
from service.core.layout_space import RECOMPUTATIONS, Question, Space
from service.core.memory import states
from service.core.parallelism import Kernels, Layout, plain
from service.core.stacking import take
from service.core.uncertainty import relative


def best_layout(
    question: Question,
    space: Space,
    recomputations: tuple[str, ...] = RECOMPUTATIONS,
    worst: int = DOES_NOT_FIT,
) -> tuple[Layout, str, int] | None:
    """The fastest layout that fits, its recomputation, and its admission code.

    Where none is sure to fit, the fastest that may; where none may, the one that needs least.
    None where no layout is valid, or none has the admission `worst`, which is cheaper to know.
    """
    return _searched(question, space, recomputations, worst)[0]


def work_of_folding(network: Network, recomputations: int) -> int:
    """What `best_layout` may fold before its first layout is evaluated, as `work_of_search`."""
    return layout_grid.FOLDED * len(network.distinct()) * recomputations


def work_of_search(
    question: Question, space: Space, recomputations: tuple[str, ...], worst: int
) -> int:
    """Layouts evaluated by `best_layout`, whether it remembers its answer or not; see Grid.work."""
    return _searched(question, space, recomputations, worst)[1]


@lru_cache(maxsize=512)
def _searched(
    question: Question, space: Space, recomputations: tuple[str, ...], worst: int
) -> tuple[tuple[Layout, str, int] | None, int]:
    grid = Grid(question, space)
    found = None
    if grid.count:
        found = fastest(Races(grid.held, grid.seconds), grid.count, recomputations, worst)
    if found is None:
        return None, grid.work
    layout = take(grid.layout(np.array([found.row]), np.array([found.stage])), 0)
    return (plain(replace(layout, searched=1.0)), found.recomputation, found.code), grid.work


@lru_cache(maxsize=512)
def has_layout(question: Question, space: Space) -> bool:
    """Whether any layout is valid."""
    return Grid(question, space).count > 0


@lru_cache(maxsize=128)
def _state_bytes(network: Network, kernels: Kernels) -> float:
    """Of all devices together: parameters, gradients and optimizer states, each held once."""
    held = states.fold(network, kernels, formats(kernels), 1, 0)
    moved = kernels.offload != "none", kernels.offload == "parameters"
    kept = (held.gradients, *(() if moved[0] else (held.optimizer,)))
    kept += () if moved[1] else (held.parameters,)
    return float(sum(each.tensor + each.key_value + each.whole + each.expert for each in kept))


def admission_of_states(question: Question, devices: float) -> int:
    """The admission of the states alone, spread over all devices: no layout has a better one."""
    network, kernels, accelerator, *_ = question
    share = relative(_state_bytes(network, kernels) / devices, *memory_bounds(network, kernels))
    return int(admission(share, accelerator.memory_bytes))


def usual_space(question: Question, devices: int) -> Space:
    """What is tried for a request without a layout.

    Tensor groups inside a node, pipelines and micro-batches in powers of two, ZeRO 1 and 3, no
    context groups. Interleaving only between nodes, where pipelines are worth it. A factor of the
    devices that the batch lacks cannot be among the data-parallel ranks: the pipeline may have it.
    """
    node = int(question.accelerator.devices_per_node)
    powers = tuple(2**i for i in range(11))
    factor = _odd(devices) // gcd(_odd(devices), int(question.global_batch_size))
    return Space(
        (devices,),
        tensor=tuple(p for p in powers if p <= min(node, 64)),
        pipeline=tuple(sorted({*powers, *(factor * p for p in powers)})),
        context=(1,),
        interleave=(1, 2, 4, 8) if devices > node else (1,),
        micro_batch_size=powers[:7],
        zero_stage=(1, 3) if devices > 1 else (0,),
    )


def _odd(number: int) -> int:
    """The number without its factors of two."""
    return number // (number & -number)


def caches() -> tuple[Any, ...]:
    """What must be forgotten when a calibration changes while the program runs."""
    return _searched, _state_bytes, *layout_grid.caches()
