"""The axes of a sweep: a value put into a request, the columns and the request of a combination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from pydantic import ValidationError

from service.api import validation
from service.api.requests import EstimateRequest
from service.catalog.snapshot import Snapshot


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


def places(axes: Mapping[str, Sequence[Any]], taken: Mapping[str, Any]) -> Callable[[str], str]:
    """Where the sweep's body has a field of the combination that took these values of its axes."""

    def where(pointer: str) -> str:
        for axis, value in taken.items():
            if pointer == axis or pointer.startswith(f"{axis}/"):
                index = list(axes[axis]).index(value)
                return validation.pointer(("axes", axis, index)) + pointer.removeprefix(axis)
        return f"/base{pointer}"

    return where


def requested(body: dict[str, Any], snapshot: Snapshot) -> tuple[EstimateRequest, Snapshot]:
    """One combination as a request, and the catalog as of the day that it asks for.

    Raises ProblemError.
    """
    try:
        request = EstimateRequest.model_validate(body)
    except ValidationError as error:
        raise validation.problem(error.errors(include_url=False), body) from None
    return request, snapshot.as_of(request.as_of) if request.as_of else snapshot
