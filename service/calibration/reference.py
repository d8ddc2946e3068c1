"""The catalog's own networks and accelerators, for the fits; and rows stacked into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from service.catalog import hardware, seeds
from service.catalog.facts import Fact
from service.catalog.kinds.model import HuggingFaceArchitecture, ModelFacts
from service.core.architecture.families import registry
from service.core.architecture.network import Network
from service.core.hardware import Accelerator

T = TypeVar("T")


def stack(items: Sequence[T]) -> T:
    """One record whose numbers are arrays over the records; nested records are stacked too.

    A tuple of (window, amount) pairs is padded to the longest with windows that hold nothing.
    """
    first = items[0]
    assert is_dataclass(first)
    assert not isinstance(first, type)
    values = {field.name: [getattr(item, field.name) for item in items] for field in fields(first)}
    return replace(first, **{name: _column(column) for name, column in values.items()})


def _column(column: list[Any]) -> Any:
    if is_dataclass(column[0]):
        return stack(column)
    if isinstance(column[0], tuple):
        longest = max(len(value) for value in column)
        padded = [(*value, *[(1.0, 0.0)] * (longest - len(value))) for value in column]
        pairs = np.array(padded, dtype=np.float64)
        return tuple((pairs[:, i, 0], pairs[:, i, 1]) for i in range(longest))
    return np.array(column, dtype=np.float64)


@cache
def network(name: str) -> Network:
    """The network of a model that the catalog ships, by its slug. Raises KeyError."""
    facts = _shipped()["models", name].payload
    assert isinstance(facts, ModelFacts)
    assert isinstance(facts.architecture, HuggingFaceArchitecture)
    return registry.build(facts.architecture.config)


@cache
def accelerator(name: str) -> Accelerator:
    """An accelerator that the catalog ships, by its slug. Raises KeyError."""
    return hardware.accelerator(_shipped()["accelerators", name])


@cache
def _shipped() -> Mapping[tuple[str, str], Fact]:
    return {
        (draft.kind, draft.name): Fact(
            draft.kind, draft.name, 1, draft.payload, draft.provenance, seeds.RECORDED_AT, 0
        )
        for draft in seeds.drafts()
        if draft.payload is not None
    }
