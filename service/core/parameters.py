"""How many parameters: the fold of the tree over its weights. Exact integers throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding
from service.core.architecture.tree import Placed


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of a whole network, tied weights counted once."""

    total: int
    untied: int
    """Every alias of a shared tensor counted."""
    active: float
    """Used by one token: the total less the routed experts that are not chosen."""
    embedding: int
    """The token embedding."""
    trainable: int
    by_component: Mapping[str, int]


@lru_cache(maxsize=256)
def count(network: Network) -> ParameterCounts:
    """The exact parameter counts of a network."""
    total = untied = embedding = trainable = 0
    idle = 0.0
    components: dict[str, int] = {}
    for leaf, layers in network.stage():
        held = stored_elements(leaf) * layers
        total += held
        untied += _alias_elements(leaf) * layers + held
        trainable += 0 if leaf.frozen else held
        if leaf.routing:
            idle += held * (1.0 - leaf.routing.active / leaf.routing.count)
        if isinstance(leaf.operator, Embedding) and leaf.operator.input:
            embedding += leaf.operator.rows * leaf.operator.width
        if held:
            components[leaf.component] = components.get(leaf.component, 0) + held
    return ParameterCounts(total, untied, total - idle, embedding, trainable, components)


def stored_elements(leaf: Placed) -> int:
    """Parameters that the leaf holds in storage of its own, over all its copies."""
    own = sum(weight.elements for weight in leaf.weights() if not weight.alias)
    return own * leaf.weight_copies


def _alias_elements(leaf: Placed) -> int:
    aliases = sum(weight.elements for weight in leaf.weights() if weight.alias)
    return 0 if leaf.reused else aliases * leaf.weight_copies
