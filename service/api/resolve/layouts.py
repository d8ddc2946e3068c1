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
    number of devices, the layout on most of them; after a few numbers on which it does not fit,
    that one is asked first. None where the batch and the devices leave no valid layout.
    """

    def on(devices: int, sure: bool) -> Chosen | None:
        space = _space(question, devices, micro_batch_size)
        return _on(question, space, tuple(recomputations), fits, sure)

    if count is not None:
        return on(count, False)
    counts = list(_counts(question))
    enough = [devices for devices in counts if admission_of_states(question, devices) == FITS]
    most: Chosen | None = None
    for number, devices in enumerate(enough):
        found = on(devices, True)
        if found is not None:
            return found
        if number == _FEW:
            most = _on_most(counts, on)
            if most is None or on(int(most.layout.devices), True) is None:
                return most
    return most or _on_most(counts, on)


_FEW = 2
"""Numbers of devices tried before the most of them."""


def _on_most(counts: Sequence[int], on: Callable[[int, bool], Chosen | None]) -> Chosen | None:
    """The layout on the most devices that leave a valid one, whether the job fits or not."""
    return next(filter(None, (on(devices, False) for devices in reversed(counts))), None)


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


def most_devices(question: Question) -> int:
    """The most on which a job is put unasked."""
    return list(_counts(question))[-1]


def _counts(question: Question) -> Iterator[int]:
    """Powers of two up to a node, then doublings of whole nodes; as many as there are samples."""
    devices, node = 1, question.accelerator.devices_per_node
    while devices <= min(MOST_DEVICES, question.global_batch_size):
        yield devices
        devices = node if devices < node < devices * 2 else devices * 2
