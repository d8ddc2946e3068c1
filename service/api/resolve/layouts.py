"""The layout of a request that names none: the fewest devices that fit, then the fastest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from service.core.estimate import DOES_NOT_FIT, FITS
from service.core.layout_choice import (
    admission_of_states,
    best_layout,
    has_layout,
    usual_space,
    work_of_folding,
    work_of_search,
)
from service.core.layout_space import Question, Space
from service.core.parallelism import Layout

MOST_DEVICES = 65_536


class OverBudget(Exception):
    """Searches have cost what they may."""


@dataclass
class Budget:
    """What further searches may cost; see layout_choice.work_of_search."""

    left: float = inf
    known: set[Hashable] = field(default_factory=set)
    """Searches that have been paid for: their answers are remembered."""

    def spend(self, work: float) -> None:
        """Raises OverBudget where so much is not left."""
        if work > self.left:
            raise OverBudget
        self.left -= work


class Chosen(NamedTuple):
    """A layout, and the recomputation that goes with it."""

    layout: Layout
    recomputation: str


def choose(
    question: Question,
    count: int | None,
    micro_batch_size: int | None,
    recomputations: Sequence[str],
    worst: int = DOES_NOT_FIT,
    budget: Budget | None = None,
) -> Chosen | None:
    """The best layout on `count` devices, or on the fewest on which the job is sure to fit.

    Where it fits on no number of devices, the layout on most of them; after a few numbers on
    which it does not fit, that one is asked first. None where the batch and the devices leave no
    valid layout, or none with the admission `worst`. Raises OverBudget.
    """
    budget = budget or Budget()

    def space(devices: int) -> Space:
        return _space(question, devices, micro_batch_size)

    def on(devices: int, worst: int) -> Chosen | None:
        if budget.left <= work_of_folding(question.network, len(recomputations)):
            raise OverBudget
        asked = question, space(devices), tuple(recomputations), worst
        found = best_layout(*asked)
        if asked not in budget.known:
            budget.known.add(asked)
            budget.left -= work_of_search(*asked)
        return None if found is None else Chosen(*found[:2])

    def most() -> int | None:
        counts = reversed(list(_counts(question)))
        return next((n for n in counts if has_layout(question, space(n))), None)

    if count is not None:
        return on(count, worst)
    enough = (n for n in _counts(question) if admission_of_states(question, n) == FITS)
    for number, devices in enumerate(enough):
        found = on(devices, FITS)
        if found is not None:
            return found
        if number == _FEW and ((last := most()) is None or on(last, FITS) is None):
            break
    return None if (last := most()) is None else on(last, worst)


_FEW = 2
"""Numbers of devices tried before the most of them."""


def _space(question: Question, devices: int, micro_batch_size: int | None) -> Space:
    space = usual_space(question, devices)
    if micro_batch_size is not None:
        space = replace(space, micro_batch_size=(micro_batch_size,))
    if question.sequence_length > _LONG:
        space = replace(space, context=(1, 2, 4, 8, 16))
    return space


_LONG = 16_384
"""Tokens a sample from which dividing the sequence is tried."""


def most_devices(question: Question) -> int:
    """The most on which a job is put unasked."""
    return list(_counts(question))[-1]


def _counts(question: Question) -> Iterator[int]:
    """Powers of two up to a node, then doublings of whole nodes; as many as there are samples."""
    devices, node = 1, question.accelerator.devices_per_node
    while devices <= min(MOST_DEVICES, question.global_batch_size):
        yield devices
        devices = node if devices < node < devices * 2 else devices * 2
