"""The layout of a request that names none: the fewest devices that fit, then the fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from service.core.estimate import FITS
from service.core.hardware import Accelerator
from service.core.layout_space import Space
from service.core.parallelism import Layout
from service.core.search import Question, best_layout, usual_space

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
    at_least: int = 1,
) -> Chosen | None:
    """The best layout on `count` devices, or on the fewest on which the job is sure to fit.

    `fits`: a further condition, for what the search does not know of the job; where the fastest
    layout does not meet it, the fastest that divides the parameters is tried. Where it fits on no
    number of devices, the layout on most of them. None where the batch and the devices leave no
    valid layout. `at_least`: devices below which none fits, known beforehand.
    """
    last: Chosen | None = None
    counts = _counts(question.accelerator, at_least) if count is None else (count,)
    for devices in counts:
        if count is None and devices > question.global_batch_size:
            break
        space = _space(question, devices, micro_batch_size)
        for tried in (space, replace(space, zero_stage=(3,))):
            found = best_layout(question, tried, tuple(recomputations))
            if found is None:
                break
            layout, recomputation, code = found
            last = Chosen(layout, recomputation)
            if code != FITS:
                break
            if fits(last):
                return last
    return last


def _space(question: Question, devices: int, micro_batch_size: int | None) -> Space:
    space = usual_space(question, devices)
    if micro_batch_size is not None:
        space = replace(space, micro_batch_size=(micro_batch_size,))
    if question.sequence_length > _LONG:
        space = replace(space, context=(1, 2, 4, 8, 16))
    return space


_LONG = 16_384
"""Tokens a sample from which dividing the sequence is tried."""


def _counts(accelerator: Accelerator, at_least: int) -> Iterator[int]:
    """Powers of two up to a node, then doublings of whole nodes."""
    devices, node = 1, accelerator.devices_per_node
    while devices <= MOST_DEVICES:
        if devices >= at_least:
            yield devices
        devices = node if devices < node < devices * 2 else devices * 2
