"""Records of numbers as columns: several of one kind stacked into one whose fields are arrays.

The formulas of the core take records of floats or of arrays alike; these make the second from
the first, for frozen dataclasses, named tuples and plain tuples nested in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def stack(items: Sequence[T], collapse: bool = False) -> T:
    """One record whose numbers are float64 arrays with an element for each item.

    None among numbers becomes NaN. Plain tuples of different lengths are filled up with their own
    first element (stages of which the slowest counts). Raises ValueError or TypeError for
    what is no record of numbers. `collapse`: one float stands for an array whose elements are all
    equal; formulas broadcast it, and nothing is gathered for it.
    """
    stacked: T = _stack(items, _level if collapse else _column)
    return stacked


def _column(numbers: Sequence[Any]) -> Any:
    if all(number is None for number in numbers):
        return None
    return np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)


def _level(numbers: Sequence[Any]) -> Any:
    first = numbers[0]
    if first is None or any(number != first for number in numbers):
        return _column(numbers)
    return float(first)


def _stack(items: Sequence[Any], leaf: Callable[[Sequence[Any]], Any]) -> Any:
    kind: Any = type(items[0])
    names, make = _form(kind)
    if names is None:
        return leaf(items)
    if names:
        return make([_stack([getattr(item, name) for item in items], leaf) for name in names])
    slots = max(map(len, items))
    full = [item + item[:1] * (slots - len(item)) for item in items]
    return make([_stack(column, leaf) for column in zip(*full, strict=True)])


def take(record: T, index: Any) -> T:
    """The record with `array[index]` in place of each array."""
    return mapped(record, lambda array: array[index])


def mapped(record: T, change: Callable[[Any], Any]) -> T:
    """The record with each array changed; numbers that are no arrays stay."""
    changed: T = _mapped(record, change)
    return changed


def has_arrays(record: Any) -> bool:
    """Whether any of the record's numbers is an array."""
    if type(record) is np.ndarray:
        return True
    parts = _parts(record)
    return parts is not None and any(has_arrays(part) for part in parts)


def _mapped(record: Any, change: Callable[[Any], Any]) -> Any:
    if type(record) is np.ndarray:
        return change(record)
    kind: Any = type(record)
    parts, (_, make) = _parts(record), _form(kind)
    if parts is None:
        return record
    return make([part if type(part) is float else _mapped(part, change) for part in parts])


def _parts(record: Any) -> Sequence[Any] | None:
    """What a record consists of; None for a number."""
    kind: Any = type(record)
    names, _ = _form(kind)
    if names is None:
        return None
    return record if names == () else [getattr(record, name) for name in names]


@cache
def _form(kind: Any) -> tuple[tuple[str, ...] | None, Callable[[Any], Any]]:
    """(names of fields, what makes a record of them); no names for a tuple, None for a number."""
    if hasattr(kind, "_make"):
        return (), kind._make
    if issubclass(kind, tuple):
        return (), tuple
    if is_dataclass(kind):
        make: Any = kind
        return tuple(field.name for field in fields(kind)), lambda parts: make(*parts)
    return None, float
