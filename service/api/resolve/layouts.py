"""The layout of a request that names none: the fewest devices that fit, then the fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from service.core.estimate import FITS
from service.core.layout_space import Question, Space
from service.core.parallelism import Layout
from service.core.search import admission_of_states, best_layout, usual_space

MOST_DEVICES = 65_536


class Chosen(NamedTuple):
    """A layout, and the recomputation that goes with it."""

    layout: Layout
    recomputation: str


def choose(
    question: Question,
    count: int | None,
    micro_batch_size: int | None,
    recomputations: Sequence[str],
    fits: Callable[[Chosen], bool] = lambda _: True,
) -> Chosen | None:
    """The best layout on `count` devices, or on the fewest on which the job is sure to fit.

    `fits`: a further condition, for what the search does not know of the job; where the fastest
    layout does not meet it, the fastest that divides the parameters is tried. Where it fits on no
    number of devices, the layout on most of them. None where the batch and the devices leave no
    valid layout.
    """
    counts = [count] if count is not None else list(_counts(question))

    def on(devices: int, sure: bool) -> Chosen | None:
        space = _space(question, devices, micro_batch_size)
        return _on(question, space, tuple(recomputations), fits, sure)

    enough = (devices for devices in counts if admission_of_states(question, devices) == FITS)
    tried = (on(devices, True) for devices in enough) if count is None else ()
    instead = (on(devices, False) for devices in reversed(counts))
    return next(filter(None, tried), None) or next(filter(None, instead), None)


def _on(
    question: Question,
    space: Space,
    recomputations: tuple[str, ...],
    fits: Callable[[Chosen], bool],
    sure: bool,
) -> Chosen | None:
    """The best layout of a space; `sure`: None where the job is not sure to fit in it."""
    last: Chosen | None = None
    for tried in (space, replace(space, zero_stage=(3,))):
        found = best_layout(question, tried, recomputations, sure)
        if found is None:
            break
        layout, recomputation, code = found
        last = Chosen(layout, recomputation)
        if code != FITS:
            break
        if fits(last):
            return last
    return None if sure else last


def _space(question: Question, devices: int, micro_batch_size: int | None) -> Space:
    space = usual_space(question, devices)
    if micro_batch_size is not None:
        space = replace(space, micro_batch_size=(micro_batch_size,))
    if question.sequence_length > _LONG:
        space = replace(space, context=(1, 2, 4, 8, 16))
    return space


_LONG = 16_384
"""Tokens a sample from which dividing the sequence is tried."""


def _counts(question: Question) -> Iterator[int]:
    """Powers of two up to a node, then doublings of whole nodes; as many as there are samples."""
    devices, node = 1, question.accelerator.devices_per_node
    while devices <= min(MOST_DEVICES, question.global_batch_size):
        yield devices
        devices = node if devices < node < devices * 2 else devices * 2
