"""The axes of a sweep: a value put into a request, and the columns of all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any


def placed(body: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The body with a value at a path; objects on the way are made."""
    changed = dict(body)
    if len(path) == 1:
        changed[path[0]] = value
        return changed
    inner = changed.get(path[0])
    if inner is None and path[0] == "workload":
        inner = {"kind": "pretraining"}
    changed[path[0]] = placed(inner if isinstance(inner, Mapping) else {}, path[1:], value)
    return changed


def axis_columns(axes: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Each axis's value in each combination; the last axis varies fastest."""
    sizes = [len(values) for values in axes.values()]
    found = {}
    for number, (pointer, values) in enumerate(axes.items()):
        repeat = prod(sizes[number + 1 :])
        once = [value for value in values for _ in range(repeat)]
        found[pointer] = once * prod(sizes[:number])
    return found
