"""Records of numbers as columns: several of one kind stacked into one whose fields are arrays.

The formulas of the core take records of floats or of arrays alike; these make the second from
the first, for frozen dataclasses, named tuples and plain tuples nested in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def stack(items: Sequence[T]) -> T:
    """One record whose numbers are float64 arrays with an element for each item.

    None among numbers becomes NaN. Plain tuples of different lengths are filled up with their own
    first element (stages of which the slowest counts). Raises ValueError or TypeError for
    what is no record of numbers.
    """
    stacked: T = _stack(items)
    return stacked


def _stack(items: Sequence[Any]) -> Any:
    first = items[0]
    if hasattr(first, "_fields"):
        return type(first)(*(_stack(column) for column in zip(*items, strict=True)))
    if isinstance(first, tuple):
        slots = max(map(len, items))
        full = [item + item[:1] * (slots - len(item)) for item in items]
        return tuple(_stack(column) for column in zip(*full, strict=True))
    if is_dataclass(first):
        return _remade(first, lambda name: _stack([getattr(item, name) for item in items]))
    if all(item is None for item in items):
        return None
    return np.array([np.nan if item is None else item for item in items], dtype=np.float64)


def _remade(record: Any, value: Callable[[str], Any]) -> Any:
    return type(record)(**{field.name: value(field.name) for field in fields(record)})


def take(record: T, index: Any) -> T:
    """The record with `array[index]` in place of each array."""
    return mapped(record, lambda array: array[index])


def collapsed(record: T) -> T:
    """The record with one float in place of each array whose elements are all equal.

    Formulas broadcast it, and nothing is gathered for it; an array with NaN stays.
    """
    return mapped(record, lambda array: float(array[0]) if (array == array[0]).all() else array)


def mapped(record: T, change: Callable[[Any], Any]) -> T:
    """The record with each array changed; numbers that are no arrays stay."""
    changed: T = _mapped(record, change)
    return changed


def _mapped(record: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(record, np.ndarray):
        return change(record)
    if hasattr(record, "_fields"):
        return type(record)(*(_mapped(part, change) for part in record))
    if isinstance(record, tuple):
        return tuple(_mapped(part, change) for part in record)
    if is_dataclass(record):
        return _remade(record, lambda name: _mapped(getattr(record, name), change))
    return record
