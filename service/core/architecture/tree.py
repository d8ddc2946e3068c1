"""The tree of operators that a network is, and the walk that every fold is built on.

A `Block` holds operators and blocks in the order in which data passes through them. It may be
repeated, share its weights among the repeats, run on a stream of its own, be routed (a mixture of
experts), and be a `layer`: the unit of pipeline stages and of recomputation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from service.core.architecture.operators import Operator, Weight
from service.core.architecture.polynomial import TOKENS, Stream


@dataclass(frozen=True)
class Routing:
    """A mixture of experts: `count` copies of the block hold weights, `active` work a position."""

    count: int
    active: float


@dataclass(frozen=True)
class Block:
    """A node of the tree."""

    name: str
    children: tuple[Block | Operator, ...]
    repeat: int = 1
    shared: bool = False
    """The repeats use one set of weights (ALBERT, Zamba's attention)."""
    stream: Stream | None = None
    """The positions that this block runs on; inherited when None."""
    routing: Routing | None = None
    layer: bool = False
    """A transformer layer or residual block: the unit of pipelines and recomputation."""
    frozen: bool = False
    """Weights that are not trained."""
    reused: bool = False
    """Its weights are counted where the block first stands (a shared block used again)."""
    alias: bool = False
    """Reused, and built as tensors of its own that are tied to those of the first block."""


class Placed(NamedTuple):
    """A leaf with all that its place in the tree says of it."""

    operator: Operator
    path: tuple[str, ...]
    stream: Stream
    weight_copies: int
    """How many sets of its weights the network holds (layers x experts)."""
    uses: float
    """How often it runs in one forward pass for each position (layers x active experts)."""
    routing: Routing | None
    frozen: bool
    first_layer: int | None
    """Index of the first layer that holds it, None outside the layers."""
    layer_count: int
    """How many layers hold it (the repeats)."""
    reused: bool = False
    alias: bool = False

    @property
    def component(self) -> str:
        """The name of the innermost block around it: attention, mlp, experts, embedding ..."""
        return self.path[-1]

    def copies_ties(self, pipeline: int, stage: int) -> bool:
        """Whether a stage holds tied tensors anew: a head on a stage after its embedding's."""
        apart = pipeline > 1 and stage == pipeline - 1
        return apart and self.first_layer is None and not self.reused

    def weights(self) -> tuple[Weight, ...]:
        """Its weight tensors; aliases where an earlier use already counts them."""
        weights = self.operator.weights()
        if not self.reused and not self.alias:
            return weights
        return tuple(replace(weight, alias=True) for weight in weights)


@dataclass(frozen=True)
class LayerGroup:
    """Consecutive equal layers: the leaves of one of them, and how many there are."""

    leaves: tuple[Placed, ...]
    """One and the same object in all groups of equal layers, as they stand in the first."""
    count: int
    first: int
    shared: bool


class Place(NamedTuple):
    """Where the walk stands: what the blocks above say of all below them."""

    counter: list[int]
    """One number: the layers met so far."""
    path: tuple[str, ...] = ()
    stream: Stream = TOKENS
    weight_copies: int = 1
    uses: float = 1.0
    routing: Routing | None = None
    frozen: bool = False
    reused: bool = False
    alias: bool = False
    layer: int | None = None
    layer_count: int = 1


class Run(NamedTuple):
    """Equal layers after one another, and where they stand."""

    block: Block
    place: Place


class Extent(NamedTuple):
    """How long a walk is."""

    parts: int
    layers: int


def extent(node: Block | Operator) -> Extent:
    """What a walk over the node meets, counted without walking."""
    if not isinstance(node, Block):
        return Extent(1, 0)
    if node.layer:
        return Extent(1, node.repeat)
    inner = [extent(child) for child in node.children]
    parts, layers = sum(each.parts for each in inner), sum(each.layers for each in inner)
    return Extent(parts * (node.repeat if layers else 1), layers * node.repeat)


def walk(block: Block, place: Place) -> Iterator[Placed | Run]:
    """Leaves outside the layers and runs of equal layers, in the order of the data."""
    if not block.repeat:
        return
    if block.repeat > 1 and not block.layer and _holds_layers(block):
        for index in range(block.repeat):
            reused = block.reused or (block.shared and index > 0)
            yield from walk(replace(block, repeat=1, reused=reused), place)
        return
    inner = _enter(block, place)
    if block.layer:
        yield Run(block, inner)
    else:
        yield from _inside(block, inner)


def _inside(block: Block, place: Place) -> Iterator[Placed | Run]:
    for child in block.children:
        if isinstance(child, Block):
            yield from walk(child, place)
        else:
            yield Placed(
                child,
                place.path,
                place.stream,
                place.weight_copies,
                place.uses,
                place.routing,
                place.frozen,
                place.layer,
                place.layer_count,
                place.reused,
                place.alias,
            )


def leaves_of(part: Placed | Run) -> Iterator[Placed]:
    """The leaves of a part."""
    if isinstance(part, Placed):
        yield part
    else:
        for inner in _inside(part.block, part.place):
            yield from leaves_of(inner)


def _holds_layers(block: Block) -> bool:
    children = (child for child in block.children if isinstance(child, Block))
    return any(child.layer or _holds_layers(child) for child in children)


def _enter(block: Block, place: Place) -> Place:
    routing = block.routing
    held = (1 if block.shared else block.repeat) * (routing.count if routing else 1)
    used = block.repeat * (routing.active if routing else 1.0)
    layer, layer_count = place.layer, place.layer_count
    if block.layer:
        layer, layer_count = place.counter[0], block.repeat
        place.counter[0] += block.repeat
    return Place(
        place.counter,
        path=(*place.path, block.name),
        stream=block.stream or place.stream,
        weight_copies=place.weight_copies * held,
        uses=place.uses * used,
        routing=routing or place.routing,
        frozen=place.frozen or block.frozen,
        reused=place.reused or block.reused,
        alias=place.alias or block.alias,
        layer=layer,
        layer_count=layer_count,
    )


def layer_groups(runs: Iterable[Run]) -> Iterator[LayerGroup]:
    """Runs are alike where one layer of each has the same content; most share it as objects."""
    by_identity: dict[tuple[Any, ...], tuple[Placed, ...]] = {}
    by_content: dict[tuple[Placed, ...], tuple[Placed, ...]] = {}
    for run in runs:
        block, first = run.block, run.place.layer or 0
        shared = block.shared and block.repeat > 1
        place = _of_one(run, shared)
        content = (*map(id, block.children), *place._replace(layer=None)[1:])
        if shared or content not in by_identity:
            leaves = tuple(leaves_of(Run(block, place)))
            anywhere = tuple(leaf._replace(first_layer=None) for leaf in leaves)
            by_identity[content] = leaves if shared else by_content.setdefault(anywhere, leaves)
        yield LayerGroup(by_identity[content], block.repeat, first, shared)


def _of_one(run: Run, shared: bool) -> Place:
    """The place of one of the layers."""
    place, count = run.place, run.block.repeat
    copies = place.weight_copies if shared else place.weight_copies // count
    return place._replace(weight_copies=copies, uses=place.uses / count, layer_count=1)
