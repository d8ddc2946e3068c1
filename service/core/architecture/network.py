"""A network as a tree of operators, and the walk that every fold is built on.

A `Block` holds operators and blocks in the order in which data passes through them. It may be
repeated, share its weights among the repeats, run on a stream of its own, be routed (a mixture of
experts), and be a `layer`: the unit of pipeline stages and of recomputation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from service.core.architecture.operators import Attention, Embedding, Linear, Operator, Weight
from service.core.architecture.polynomial import TOKENS, Stream
from service.core.architecture.quantization import Quantization


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


@dataclass(frozen=True)
class Network:
    """A whole network. Equal content is equal and hashes equally, so that folds can be cached."""

    name: str
    model_type: str
    root: Block
    vocabulary: int = 0
    hidden_size: int = 0
    sequence_limit: int | None = None
    """Positions that the configuration allows."""
    causal: bool = True
    """Generates tokens one after another (decides whether serving makes sense)."""
    stored: str = "bf16"
    """The number format that the configuration names for its weights."""
    tokens: bool = True
    """Has a token stream; otherwise a sample (an image, a row) counts as one token."""
    quantization: Quantization | None = None
    """How the configuration says that its weights are stored; None where they are as they are."""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.name, self.root, self.stored)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def reads(self, tokens: float) -> bool:
        """Whether the configuration allows a sequence of so many tokens."""
        return self.sequence_limit is None or tokens <= self.sequence_limit

    def leaves(self) -> tuple[Placed, ...]:
        """Each operator once, with its multiplicity and place."""
        return self._leaves if len(self._parts) <= _FEW_PARTS else self._walked()

    @cached_property
    def _leaves(self) -> tuple[Placed, ...]:
        return self._walked()

    def _walked(self) -> tuple[Placed, ...]:
        return tuple(leaf for part in self._parts for leaf in _leaves(part))

    @cached_property
    def _parts(self) -> tuple[Placed | _Run, ...]:
        return tuple(_walk(self.root, _Place([0])))

    def layer_groups(self) -> tuple[LayerGroup, ...]:
        """The layers in order, as runs of equal ones. Leaves are those of ONE layer."""
        return self._groups

    @cached_property
    def _groups(self) -> tuple[LayerGroup, ...]:
        return tuple(_groups(part for part in self._parts if isinstance(part, _Run)))

    def outside_layers(self) -> tuple[Placed, ...]:
        """Leaves that stand in no layer: embeddings, final norm, head."""
        return tuple(part for part in self._parts if isinstance(part, Placed))

    def distinct(self) -> tuple[Placed, ...]:
        """The leaves outside the layers, and those of one layer of each kind."""
        kinds = {id(group.leaves): group.leaves for group in self.layer_groups()}
        return self.outside_layers() + tuple(leaf for kind in kinds.values() for leaf in kind)

    @cached_property
    def layers(self) -> int:
        """How many layers can be put on pipeline stages."""
        return sum(group.count for group in self.layer_groups())

    def stage(self, pipeline: int = 1, index: int = 0) -> tuple[tuple[Placed, int], ...]:
        """The leaves on one pipeline stage, each with the number of layers it stands in there.

        Layers are dealt out evenly and in order: stage `i` of `p` holds layers `i L // p` to
        `(i + 1) L // p`. What stands before the first layer is on the first stage, what stands
        after the last on the last; leaves outside the layers count once. Layers that share their
        weights hold them once a stage. Equal layers count together, wherever they stand.
        """
        known = self.__dict__.setdefault("_stages", {})
        if (pipeline, index) not in known:
            known[pipeline, index] = self._staged(pipeline, index)
        found: tuple[tuple[Placed, int], ...] = known[pipeline, index]
        return found

    def _staged(self, pipeline: int, index: int) -> tuple[tuple[Placed, int], ...]:
        counts: dict[int, tuple[tuple[Placed, ...], int]] = {}
        for leaves, count in self.runs(pipeline, index):
            _, before = counts.get(id(leaves), (leaves, 0))
            counts[id(leaves)] = leaves, before + count
        found = ((leaf, count) for leaves, count in counts.values() for leaf in leaves)
        first, last = self._ends()
        return (
            *((leaf, 1) for leaf in first if index == 0),
            *found,
            *((leaf, 1) for leaf in last if index == pipeline - 1),
        )

    def together(self, pipeline: int = 1, index: int = 0) -> tuple[tuple[Placed, int], ...]:
        """As `stage`, but equal leaves of unlike layers count together; layers have no index."""
        known = self.__dict__.setdefault("_together", {})
        if (pipeline, index) not in known:
            counts: dict[Placed, int] = {}
            for leaf, count in self.stage(pipeline, index):
                inside = leaf if leaf.first_layer is None else leaf._replace(first_layer=0)
                counts[inside] = counts.get(inside, 0) + count
            known[pipeline, index] = tuple(counts.items())
        found: tuple[tuple[Placed, int], ...] = known[pipeline, index]
        return found

    def runs(self, pipeline: int = 1, index: int = 0) -> tuple[tuple[tuple[Placed, ...], int], ...]:
        """The layers on one pipeline stage in order: the leaves of one layer, and how many."""
        start, stop = self.layers * index // pipeline, self.layers * (index + 1) // pipeline
        found: list[tuple[tuple[Placed, ...], int]] = []
        if start == stop:
            return ()
        reach = slice(bisect_right(self._firsts, start) - 1, bisect_left(self._firsts, stop))
        for group in self._groups[reach]:
            count = min(stop, group.first + group.count) - max(start, group.first)
            if group.shared:
                found.append((group.leaves, 1))
                again = tuple(leaf._replace(reused=True) for leaf in group.leaves)
                found.extend([(again, count - 1)] if count > 1 else [])
            else:
                found.append((group.leaves, count))
        return tuple(found)

    @cached_property
    def _firsts(self) -> tuple[int, ...]:
        return tuple(group.first for group in self._groups)

    def _ends(self) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
        layers = [place for place, part in enumerate(self._parts) if isinstance(part, _Run)]
        first = layers[0] if layers else len(self._parts)
        before, after = self._parts[:first], self._parts[first:]
        return (
            tuple(part for part in before if isinstance(part, Placed)),
            tuple(part for part in after if isinstance(part, Placed)),
        )

    def heads(self) -> tuple[int, ...]:
        """The distinct numbers of attention heads, which the tensor ways must divide."""
        return self._heads

    @cached_property
    def _heads(self) -> tuple[int, ...]:
        found = {
            leaf.operator.heads for leaf in self.distinct() if isinstance(leaf.operator, Attention)
        }
        return tuple(sorted(found))

    def key_value_heads(self, pipeline: int = 1, index: int = 0) -> float:
        """The fewest on a stage: in how many parts their weights can be divided at most."""
        found = (
            getattr(leaf.operator, "key_value_heads", None)
            for leaf, _ in self.stage(pipeline, index)
        )
        return float(min(filter(None, found), default=_ANY_WAYS))

    def experts(self) -> int:
        """The largest number of routed experts in one layer; 0 for a dense network."""
        return self._experts

    @cached_property
    def _experts(self) -> int:
        return max((leaf.routing.count for leaf in self.distinct() if leaf.routing), default=0)

    def head_position(self) -> Placed | None:
        """The output projection on the vocabulary, if there is one."""
        for leaf in self.distinct():
            if isinstance(leaf.operator, Linear) and leaf.operator.head:
                return leaf
        return None

    def input_embedding(self) -> Embedding | None:
        """The token embedding, if there is one."""
        for leaf in self.distinct():
            if isinstance(leaf.operator, Embedding) and leaf.operator.input:
                return leaf.operator
        return None


_FEW_PARTS = 256
"""Of a network whose leaves are kept; those of a longer one take megabytes."""
_ANY_WAYS = 1 << 30
"""More than any layout divides by."""


class _Place(NamedTuple):
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


class _Run(NamedTuple):
    """Equal layers after one another, and where they stand."""

    block: Block
    place: _Place


def _walk(block: Block, place: _Place) -> Iterator[Placed | _Run]:
    if not block.repeat:
        return
    if block.repeat > 1 and not block.layer and _holds_layers(block):
        for index in range(block.repeat):
            reused = block.reused or (block.shared and index > 0)
            yield from _walk(replace(block, repeat=1, reused=reused), place)
        return
    inner = _enter(block, place)
    if block.layer:
        yield _Run(block, inner)
    else:
        yield from _inside(block, inner)


def _inside(block: Block, place: _Place) -> Iterator[Placed | _Run]:
    for child in block.children:
        if isinstance(child, Block):
            yield from _walk(child, place)
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


def _leaves(part: Placed | _Run) -> Iterator[Placed]:
    if isinstance(part, Placed):
        yield part
    else:
        for inner in _inside(part.block, part.place):
            yield from _leaves(inner)


def _holds_layers(block: Block) -> bool:
    children = (child for child in block.children if isinstance(child, Block))
    return any(child.layer or _holds_layers(child) for child in children)


def _enter(block: Block, place: _Place) -> _Place:
    routing = block.routing
    held = (1 if block.shared else block.repeat) * (routing.count if routing else 1)
    used = block.repeat * (routing.active if routing else 1.0)
    layer, layer_count = place.layer, place.layer_count
    if block.layer:
        layer, layer_count = place.counter[0], block.repeat
        place.counter[0] += block.repeat
    return _Place(
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


def _groups(runs: Iterable[_Run]) -> Iterator[LayerGroup]:
    """Runs are alike where one layer of each has the same content; most share it as objects."""
    by_identity: dict[tuple[Any, ...], tuple[Placed, ...]] = {}
    by_content: dict[tuple[Placed, ...], tuple[Placed, ...]] = {}
    for run in runs:
        block, first = run.block, run.place.layer or 0
        shared = block.shared and block.repeat > 1
        place = _of_one(run, shared)
        content = (*map(id, block.children), *place._replace(layer=None)[1:])
        if shared or content not in by_identity:
            leaves = tuple(_leaves(_Run(block, place)))
            anywhere = tuple(leaf._replace(first_layer=None) for leaf in leaves)
            by_identity[content] = leaves if shared else by_content.setdefault(anywhere, leaves)
        yield LayerGroup(by_identity[content], block.repeat, first, shared)


def _of_one(run: _Run, shared: bool) -> _Place:
    """The place of one of the layers."""
    place, count = run.place, run.block.repeat
    copies = place.weight_copies if shared else place.weight_copies // count
    return place._replace(weight_copies=copies, uses=place.uses / count, layer_count=1)
