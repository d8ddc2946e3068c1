"""The fastest of many options that fits, without asking what every option needs and takes.

An option is a row (a layout), a ZeRO stage and a recomputation. The first recomputation is the
fastest, and the last one needs the least memory: the last says which rows are worth a look, and
the first in which order. The fastest are looked at first, until no other can be faster than what
was found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.estimate import DOES_NOT_FIT
from service.core.numeric import FloatArray

Names = tuple[str, ...]
"""Recomputations; asked together, they cost little more than one."""
Rows = NDArray[np.intp]
_FIRST_ROWS, _MORE_ROWS = 32, 4
"""Rows looked at before the bound is asked again, and how many times more after that: the fastest
seldom need more than the first, and what a row needs is folded for its pipeline degree."""
_FEW = 4
"""Rows that need least: where none fits, the other recomputations are tried on them, since a stage
of one layer may need less without, or as much."""


class Races(NamedTuple):
    """What is known of rows under a recomputation."""

    held: Callable[[Names, Rows], tuple[FloatArray, FloatArray]]
    """Admission and peak bytes, [recomputation, row, stage]."""
    seconds: Callable[[Names, Rows, Rows, Rows], FloatArray]
    """Of rows, each with the recomputation and the stage of that index."""


class Winner(NamedTuple):
    """An option and its admission code."""

    row: int
    stage: int
    """Index of the ZeRO stage."""
    recomputation: str
    code: int


def fastest(
    races: Races, count: int, recomputations: Names, worst: int = DOES_NOT_FIT
) -> Winner | None:
    """The fastest that fits; else the fastest that may; else the one that needs least.

    Of equals the first recomputation, then the first row, then the first stage stands. None where
    the last recomputation leaves nothing with the admission `worst` or a better one.
    """
    (code,), (peak,) = races.held(recomputations[-1:], np.arange(count))
    if code.min() > worst:
        return None
    if code.min() < DOES_NOT_FIT:
        return _first(races, code, recomputations)
    few = np.sort(np.argsort(peak.min(axis=1), kind="stable")[:_FEW])
    codes, peaks = races.held(recomputations, few)
    code[few] = codes.min(axis=0)
    if code.min() < DOES_NOT_FIT:
        return _first(races, code, recomputations)
    number, row, stage = np.unravel_index(int(peaks.argmin()), peaks.shape)
    return Winner(int(few[row]), int(stage), recomputations[int(number)], DOES_NOT_FIT)


def _first(races: Races, codes: FloatArray, recomputations: Names) -> Winner:
    """The fastest of the options with the best admission; `codes` are the best of each row."""
    code = int(codes.min())
    alive = np.flatnonzero(codes.min(axis=1) == code)
    zeros = np.zeros_like(alive)
    bound = races.seconds(recomputations[:1], zeros, alive, zeros)
    order = np.argsort(bound, kind="stable")
    best = (np.inf, 0, 0, 0)
    start, count = 0, _FIRST_ROWS
    while start < len(order) and bound[order[start]] <= best[0]:
        chunk = order[start : start + count]
        start, count = start + count, count * _MORE_ROWS
        for number, names in enumerate((recomputations[:1], recomputations[1:])):
            chunk = chunk[bound[chunk] <= best[0]]
            found = _quickest(races, np.sort(alive[chunk]), names, code)
            if found is not None:
                best = min(best, (found[0], number + found[1], *found[2:]))
    return Winner(best[2], best[3], recomputations[best[1]], code)


def _quickest(
    races: Races, rows: Rows, names: Names, code: int
) -> tuple[float, int, int, int] | None:
    """(seconds, recomputation, row, stage) of the fastest of some rows; None where none fits."""
    if not (len(rows) and names):
        return None
    numbers, place, stages = np.nonzero(races.held(names, rows)[0] <= code)
    if not len(place):
        return None
    seconds = races.seconds(names, numbers, rows[place], stages)
    first = int(np.argmin(seconds))
    return float(seconds[first]), int(numbers[first]), int(rows[place[first]]), int(stages[first])
