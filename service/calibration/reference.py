"""The networks and accelerators that the catalog ships, for the fits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from service.catalog import hardware, networks, seeds
from service.catalog.facts import Fact
from service.core.architecture.network import Network
from service.core.hardware import Accelerator


@cache
def network(name: str) -> Network:
    """The network of a model that the catalog ships, by its slug. Raises KeyError."""
    return networks.network(_shipped()["models", name])


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
