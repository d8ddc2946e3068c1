"""From a request's model to a network, or to a size where that is all that is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from service.api.problems import FieldError, ProblemError, at
from service.api.request_models import (
    CatalogModel,
    HuggingFaceModel,
    LayersModel,
    ModelSpec,
    SafetensorsModel,
    SizeModel,
)
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Ledger
from service.api.resolve.places import sourced, unknown
from service.api.validation import pointer
from service.catalog import networks
from service.catalog.errors import UnknownName
from service.catalog.facts import Fact
from service.catalog.snapshot import Snapshot
from service.core.architecture.families import registry
from service.core.architecture.families.config import ConfigError, UnknownArchitecture
from service.core.architecture.network import Network


@dataclass(frozen=True)
class Size:
    """All that is known of a model is how many parameters it has."""

    parameters: int
    active: int


Model = Network | Size


def resolve(snapshot: Snapshot, spec: ModelSpec, ledger: Ledger) -> Model:
    """The network that a request's model describes, or its size."""
    match spec:
        case CatalogModel():
            return _from_catalog(snapshot, spec.name, ledger)
        case HuggingFaceModel():
            return _from_config(spec.config)
        case SizeModel():
            return _size(spec)
    raise AssertionError(spec)


def _from_catalog(snapshot: Snapshot, name: str, ledger: Ledger) -> Network:
    try:
        fact, network = _catalogued(Catalog(snapshot), name)
    except UnknownName as error:
        raise unknown("unknown-model", "/model/name", error) from None
    except ConfigError as error:
        raise at("invalid-model", "/model/name", f"{name}: {error}") from None
    ledger.assume("/model/name", fact.name, "catalog", sourced(fact))
    return network


@lru_cache(maxsize=1024)
def _catalogued(catalog: Catalog, name: str) -> tuple[Fact, Network]:
    fact = catalog.snapshot.get("models", name)
    return fact, networks.network(fact)


def _from_config(config: Mapping[str, Any]) -> Network:
    try:
        return _network(json.dumps(config))
    except UnknownArchitecture as error:
        raise at("unknown-architecture", _config_pointer(error), str(error)) from None
    except ConfigError as error:
        raise at("invalid-model", _config_pointer(error), str(error)) from None


@lru_cache(maxsize=1024)
def _network(config: str) -> Network:
    return registry.build(json.loads(config))


def _config_pointer(error: ConfigError) -> str:
    return pointer(("model", "config", *error.field.split(".")))


def _size(spec: SizeModel) -> Size:
    active = spec.active_parameters or spec.parameters
    if active > spec.parameters:
        raise at(
            "invalid-request",
            "/model/active_parameters",
            "active_parameters must be at most parameters",
        )
    return Size(spec.parameters, active)
