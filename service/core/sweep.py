"""Many estimates at once: every combination of some axes, in columns.

Each quantity keeps the axes that it depends on and no others: an axis of n values enters as an
array of shape (1, .., n, .., 1), so what does not depend on an axis is computed once for all of
its values. Rows come in blocks that stay in the processor's cache. The formula is the one of the
single estimate (`estimate.evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.estimate import Estimate, Prepared, evaluate
from service.core.numeric import FloatArray, Number
from service.core.parallelism import Layout
from service.core.spending import ALONE, Accounting, Site
from service.core.stacking import has_arrays, mapped, stack

BLOCK_ROWS = 32768
"""Rows of a block: fewer cost more calls of numpy, and arrays of more leave the caches."""


class Point(NamedTuple):
    """One resolved job: everything that `evaluate` takes."""

    prepared: Prepared
    layout: Layout
    tokens: Number
    site: Site
    usd_per_device_hour: Number
    accounting: Accounting = ALONE


class Numbers(NamedTuple):
    """An axis that only sets numbers."""

    axis: int
    """Its place among the axes."""
    target: str
    """What it sets: `tokens`, `usd_per_device_hour`, `layout.FIELD` or `site.FIELD`."""
    values: Sequence[float]


@dataclass(frozen=True)
class Grid:
    """The combinations of a sweep. Rows run through the axes with the last one fastest."""

    shape: tuple[int, ...]
    """The number of values of each axis."""
    point_axes: tuple[int, ...]
    """Axes that decide the point (model, accelerator, precision ...), ascending."""
    points: Sequence[Point | None]
    """A point for each combination of those axes, the last one fastest; None where the
    combination makes no sense."""
    numbers: Sequence[Numbers] = ()
    """The other axes."""

    @property
    def rows(self) -> int:
        """The number of combinations."""
        return prod(self.shape)


@dataclass(frozen=True)
class Swept:
    """The answer of a sweep."""

    columns: Mapping[str, FloatArray]
    """A number for each row; NaN in refused rows."""
    refused: int
    """Combinations that make no sense: no point, or ranks that do not come out even."""


Getter = Callable[[Estimate], Number]


def sweep(grid: Grid, columns: Mapping[str, Getter], block_rows: int = BLOCK_ROWS) -> Swept:
    """All combinations of a grid, evaluated."""
    answers = {name: np.empty(grid.shape) for name in columns}
    refused = 0
    columns_of_points, known = _spread(grid)
    if columns_of_points is None:
        return Swept({n: np.full(grid.rows, np.nan) for n in columns}, grid.rows)
    whole = _numbered(columns_of_points, grid)
    varies = [has_arrays(part) for part in whole]
    for index in blocks(grid.shape, block_rows):
        shape = tuple(part.stop - part.start for part in index)
        cut = _slicer(index)
        parts = zip(whole, varies, strict=True)
        point = Point(*(mapped(part, cut) if changes else part for part, changes in parts))
        wrong = np.broadcast_to(~(cut(known) & sensible(point.layout)), shape)
        wrong_here = int(np.count_nonzero(wrong))
        refused += wrong_here
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            estimate = evaluate(*point)
        for name, getter in columns.items():
            answers[name][index] = getter(estimate)
            if wrong_here:
                answers[name][index][wrong] = np.nan
    return Swept({name: answer.ravel() for name, answer in answers.items()}, refused)


def sensible(layout: Layout) -> NDArray[np.bool_]:
    """Where the ranks come out even and each holds a whole part of the batch."""
    data = layout.data
    enough = layout.global_batch_size >= data * layout.micro_batch_size
    even: NDArray[np.bool_] = np.asarray((data >= 1) & (data == np.floor(data)) & enough)
    return even


def blocks(shape: tuple[int, ...], rows: int) -> Iterator[tuple[slice, ...]]:
    """Slices that cover the grid in blocks of at most about `rows`, the last axes whole."""
    if not shape:
        yield ()
        return
    inner = prod(shape[1:])
    step = max(1, rows // inner) if inner else 1
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        if inner <= rows:
            yield (slice(start, stop), *(slice(0, size) for size in shape[1:]))
        else:
            for rest in blocks(shape[1:], rows):
                yield (slice(start, stop), *rest)


def _slicer(index: tuple[slice, ...]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Cuts a block out of arrays that have length 1 along the axes they do not depend on."""

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        kept = zip(index, array.shape, strict=True)
        return array[tuple(part if size > 1 else slice(None) for part, size in kept)]

    return cut


def _spread(grid: Grid) -> tuple[Point | None, NDArray[np.bool_]]:
    """The points as arrays along their axes, and which of them there are."""
    shape = tuple(size if axis in grid.point_axes else 1 for axis, size in enumerate(grid.shape))
    known = np.array([point is not None for point in grid.points]).reshape(shape)
    present = [point for point in grid.points if point is not None]
    if not present:
        return None, known
    places: dict[int, int] = {}
    unique: list[Prepared] = []
    for point in present:
        if id(point.prepared) not in places:
            places[id(point.prepared)] = len(unique)
            unique.append(point.prepared)
    filled = [point if point is not None else present[0] for point in grid.points]
    place = np.array([places[id(point.prepared)] for point in filled])
    prepared = mapped(stack(unique), lambda array: array[place])
    others = stack([point[1:] for point in filled])
    return mapped(Point(prepared, *others), lambda a: _shaped(a, shape)), known


def _shaped(array: FloatArray, shape: tuple[int, ...]) -> Number:
    """An array along the point axes; of length 1 along those on which nothing changes.

    A plain number where nothing changes at all.
    """
    full = array.reshape(shape)
    for axis, size in enumerate(shape):
        if size > 1:
            first = full.take([0], axis=axis)
            if np.array_equal(full, np.broadcast_to(first, full.shape), equal_nan=True):
                full = first
    return float(full.flat[0]) if full.size == 1 else full


def _numbered(point: Point, grid: Grid) -> Point:
    """The point with the axes of numbers in it."""
    for axis, target, values in grid.numbers:
        shape = tuple(len(values) if i == axis else 1 for i in range(len(grid.shape)))
        array = np.array(values, dtype=np.float64).reshape(shape)
        part, _, name = target.partition(".")
        if part == "layout":
            point = point._replace(layout=replace(point.layout, **{name: array}))
        elif part == "site":
            point = point._replace(site=point.site._replace(**{name: array}))
        else:
            changed: dict[str, Any] = {part: array}
            point = point._replace(**changed)
    return point
