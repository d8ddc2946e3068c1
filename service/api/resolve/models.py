"""From a request's model to a network, or to a size where that is all that is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from service.api.nesting import short
from service.api.problems import at
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
from service.core import parameters
from service.core.architecture import safetensors
from service.core.architecture.families import layers, registry
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
        case LayersModel():
            return _read("layers", spec.layers)
        case SafetensorsModel():
            return _read("header", spec.header)
        case SizeModel():
            return _size(spec)


def architecture(snapshot: Snapshot, spec: ModelSpec, ledger: Ledger) -> Network | None:
    """The network of a model that says what it computes; None for a size, and for a header."""
    found = resolve(snapshot, spec, ledger)
    return None if isinstance(found, Size) or isinstance(spec, SafetensorsModel) else found


def _from_catalog(snapshot: Snapshot, name: str, ledger: Ledger) -> Network:
    try:
        fact, network = catalogued(snapshot, name)
    except UnknownName as error:
        raise unknown("unknown-model", "/model/name", error) from None
    except ConfigError as error:
        raise at("invalid-model", "/model/name", f"{name}: {error}") from None
    ledger.assume("/model/name", fact.name, "catalog", sourced(fact))
    return network


def catalogued(snapshot: Snapshot, name: str) -> tuple[Fact, Network]:
    """A reference model and its network. Raises UnknownName and ConfigError."""
    return _catalogued(Catalog(snapshot), name)


@lru_cache(maxsize=256)
def _catalogued(catalog: Catalog, name: str) -> tuple[Fact, Network]:
    fact = catalog.snapshot.get("models", name)
    return fact, networks.network(fact)


def _from_config(config: Mapping[str, Any]) -> Network:
    try:
        return _built("config", config)
    except ConfigError as error:
        path = pointer(("model", "config", *error.field.split(".")))
        unknown_family = isinstance(error, UnknownArchitecture)
        kind = "unknown-architecture" if unknown_family else "invalid-model"
        raise at(kind, path, str(error)) from None


def _read(field: str, document: Any) -> Network:
    try:
        return _built(field, document)
    except ConfigError as error:
        path = pointer(("model", *_PARTS.split(error.field)))
        raise at("invalid-model", path.rstrip("/"), str(error)) from None


_PARTS = re.compile(r"\.|\[|\]\.?")
_BUILDERS: Mapping[str, Callable[[Any], Network]] = {
    "config": registry.build,
    "layers": layers.build,
    "header": safetensors.build,
}


def _built(kind: str, document: Any) -> Network:
    """The network of a document; the same is read once, unless it is very long."""
    if not short(document):
        return _read_anew(kind, document)
    return _remembered(kind, json.dumps(document))


@lru_cache(maxsize=128)
def _remembered(kind: str, text: str) -> Network:
    return _read_anew(kind, json.loads(text))


def _read_anew(kind: str, document: Any) -> Network:
    network = _BUILDERS[kind](document)
    if parameters.count(network).total > MOST_PARAMETERS:
        raise ConfigError(kind, f"more than {MOST_PARAMETERS:.0e} parameters are not sized")
    if kind != "header":
        _check_kinds(kind, network)
    return network


def _check_kinds(field: str, network: Network) -> None:
    """Refuse what would take too long to fold, by what there is to fold."""
    groups = network.layer_groups()
    unlike = {id(group.leaves): len(group.leaves) for group in groups}
    inside, outside = sum(unlike.values()), len(network.outside_layers())
    places = sum(len(group.leaves) for group in groups)
    for count, most, what in (
        (len(unlike), MOST_KINDS, "layers that differ from each other"),
        (inside, MOST_INSIDE, "operators in layers that differ from each other"),
        (outside, MOST_OUTSIDE, "operators outside the layers"),
        (places, MOST_PLACES, "operators in runs of equal layers"),
    ):
        if count > most:
            raise ConfigError(field, f"the network has {count} {what}; at most {most} are sized")


MOST_PARAMETERS = 10**17
"""As of a model that is given by its size."""
MOST_KINDS, MOST_INSIDE = 48, 400
"""Unlike layers of one network, and what they hold: each is folded by itself, for every stage that
may hold it. Published networks have 9 kinds and 108 operators at most."""
MOST_OUTSIDE, MOST_PLACES = 1_000, 3_000
"""What is folded once, and what is only walked over."""


def _size(spec: SizeModel) -> Size:
    active = spec.active_parameters or spec.parameters
    if active > spec.parameters:
        raise at(
            "invalid-request",
            "/model/active_parameters",
            "active_parameters must be at most parameters",
        )
    return Size(spec.parameters, active)
