"""The fastest of many options that fits, without asking what every option needs and takes.

An option is a row (a layout), a ZeRO stage and a recomputation. The first recomputation is the
fastest, and the last one needs the least memory: the last says which rows are worth a look, and
the first in which order. The fastest are looked at first, until no other can be faster than what
was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.estimate import DOES_NOT_FIT
from service.core.numeric import FloatArray

Rows = NDArray[np.intp]
_FIRST_ROWS, _MORE_ROWS = 32, 4
"""Rows looked at before the bound is asked again, and how many times more after that: the fastest
seldom need more than the first, and what a row needs is folded for its pipeline degree."""
_FEW = 4
"""Rows that need least: where none fits, the other recomputations are tried on them, since a stage
of one layer may need less without, or as much."""


class Races(NamedTuple):
    """What is known of rows under a recomputation."""

    held: Callable[[str, Rows], tuple[FloatArray, FloatArray]]
    """Admission and peak bytes, [row, stage]."""
    seconds: Callable[[str, Rows, Rows], FloatArray]
    """Of rows, each with the stage of that index."""


class Winner(NamedTuple):
    """An option and its admission code."""

    row: int
    stage: int
    """Index of the ZeRO stage."""
    recomputation: str
    code: int


def fastest(
    races: Races, count: int, recomputations: Sequence[str], worst: int = DOES_NOT_FIT
) -> Winner | None:
    """The fastest that fits; else the fastest that may; else the one that needs least.

    Of equals the first recomputation, then the first row, then the first stage stands. None where
    the last recomputation leaves nothing with the admission `worst` or a better one.
    """
    code, peak = races.held(recomputations[-1], np.arange(count))
    if code.min() > worst:
        return None
    if code.min() < DOES_NOT_FIT:
        return _first(races, code, recomputations)
    few = np.sort(np.argsort(peak.min(axis=1), kind="stable")[:_FEW])
    tried = [*(races.held(name, few) for name in recomputations[:-1]), (code[few], peak[few])]
    codes, peaks = zip(*tried, strict=True)
    code[few] = np.min(codes, axis=0)
    if code.min() < DOES_NOT_FIT:
        return _first(races, code, recomputations)
    number, row, stage = np.unravel_index(int(np.argmin(peaks)), np.shape(peaks))
    return Winner(int(few[row]), int(stage), recomputations[int(number)], DOES_NOT_FIT)


def _first(races: Races, codes: FloatArray, recomputations: Sequence[str]) -> Winner:
    """The fastest of the options with the best admission; `codes` are the best of each row."""
    code = int(codes.min())
    alive = np.flatnonzero(codes.min(axis=1) == code)
    bound = races.seconds(recomputations[0], alive, np.zeros_like(alive))
    order = np.argsort(bound, kind="stable")
    best = (np.inf, 0, 0, 0)
    start, count = 0, _FIRST_ROWS
    while start < len(order) and bound[order[start]] <= best[0]:
        chunk = order[start : start + count]
        start, count = start + count, count * _MORE_ROWS
        for number, name in enumerate(recomputations):
            chunk = chunk[bound[chunk] <= best[0]]
            found = _quickest(races, np.sort(alive[chunk]), name, code)
            if found is not None:
                best = min(best, (found[0], number, *found[1:]))
    return Winner(best[2], best[3], recomputations[best[1]], code)


def _quickest(races: Races, rows: Rows, name: str, code: int) -> tuple[float, int, int] | None:
    """(seconds, row, stage) of the fastest of some rows; None where none fits."""
    if not len(rows):
        return None
    place, stages = np.nonzero(races.held(name, rows)[0] <= code)
    if not len(place):
        return None
    seconds = races.seconds(name, rows[place], stages)
    first = int(np.argmin(seconds))
    return float(seconds[first]), int(rows[place[first]]), int(stages[first])
