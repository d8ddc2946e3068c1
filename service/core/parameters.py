"""How many parameters: the fold of the tree over its weights. Exact integers throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding
from service.core.architecture.tree import Placed
from service.core.numeric import Number, minimum


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


@dataclass(frozen=True)
class SplitCount:
    """Numbers of parameters by how model parallelism divides them."""

    tensor: Number
    key_value: Number
    whole: Number
    expert: Number
    key_value_heads: Number
    """Ways that key and value projections can be divided at most."""

    def dense(self, tensor: Number) -> Number:
        """Parameters outside the experts on one of `tensor` ranks."""
        return (
            self.tensor / tensor
            + self.key_value / minimum(tensor, self.key_value_heads)
            + self.whole
        )


@dataclass(frozen=True)
class ParameterTable:
    """Parameters of one pipeline stage by how parallelism divides them."""

    held: SplitCount
    trainable: SplitCount
    layer: SplitCount
    """The largest layer (or the largest part outside layers): what ZeRO-3 gathers at once."""

    def per_device(self, tensor: Number, expert_ways: Number) -> tuple[Number, Number]:
        """(dense, expert) parameters on one rank of the model-parallel group.

        `expert_ways`: expert-parallel times expert-tensor-parallel degree.
        """
        return self.held.dense(tensor), self.held.expert / expert_ways

    def trainable_per_device(self, tensor: Number, expert_ways: Number) -> tuple[Number, Number]:
        """(dense, expert) trained parameters on one rank."""
        return self.trainable.dense(tensor), self.trainable.expert / expert_ways

    def layer_per_device(self, tensor: Number, expert_ways: Number) -> Number:
        """Parameters of the largest unit that ZeRO-3 gathers, on one tensor rank."""
        return self.layer.dense(tensor) + self.layer.expert / expert_ways


@lru_cache(maxsize=256)
def table(network: Network, pipeline: int = 1, stage: int = 0) -> ParameterTable:
    """The parameters of one pipeline stage. A tied head on a later stage holds its own copy."""
    held = dict.fromkeys(("tensor", "key_value", "whole", "expert"), 0.0)
    trained = dict(held)
    units: dict[tuple[int | None, str], dict[str, float]] = {}
    tied_copy = pipeline > 1 and stage == pipeline - 1
    for leaf, layers in network.stage(pipeline, stage):
        unit = units.setdefault((leaf.first_layer, leaf.path[1] if leaf.path[1:] else ""), {})
        for weight in leaf.weights():
            if weight.alias and not (tied_copy and leaf.first_layer is None and not leaf.reused):
                continue
            key = "expert" if leaf.routing else str(weight.split)
            amount = weight.elements * leaf.weight_copies
            held[key] += amount * layers
            trained[key] += 0 if leaf.frozen else amount * layers
            unit[key] = unit.get(key, 0.0) + amount
    largest = max(units.values(), key=lambda unit: sum(unit.values()), default={})
    heads = network.key_value_heads(pipeline, stage)
    return ParameterTable(
        SplitCount(**held, key_value_heads=heads),
        SplitCount(**trained, key_value_heads=heads),
        SplitCount(**(dict.fromkeys(held, 0.0) | largest), key_value_heads=heads),
    )
