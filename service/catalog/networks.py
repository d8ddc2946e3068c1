"""From a reference model's fact to its network. The one place that maps them."""

from __future__ import annotations

from service.catalog.facts import Fact
from service.catalog.kinds import ModelFacts
from service.catalog.kinds.model import HuggingFaceArchitecture, LayersArchitecture
from service.core.architecture.families import layers, registry
from service.core.architecture.network import Network


def network(fact: Fact) -> Network:
    """The network of a reference model. Raises ConfigError for one that the core cannot build."""
    facts = fact.payload
    assert isinstance(facts, ModelFacts)
    return build(facts.architecture)


def build(architecture: HuggingFaceArchitecture | LayersArchitecture) -> Network:
    """The network that an architecture describes. Raises ConfigError."""
    if isinstance(architecture, LayersArchitecture):
        return layers.build(architecture.layers)
    return registry.build(architecture.config)
