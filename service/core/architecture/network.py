"""A whole network: its leaves, layers and stages, folded out of its tree once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from service.core.architecture.operators import Attention, Embedding, Linear
from service.core.architecture.quantization import Quantization
from service.core.architecture.tree import (
    Block,
    LayerGroup,
    Place,
    Placed,
    Run,
    layer_groups,
    leaves_of,
    walk,
)


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
        return tuple(leaf for part in self._parts for leaf in leaves_of(part))

    @cached_property
    def _parts(self) -> tuple[Placed | Run, ...]:
        return tuple(walk(self.root, Place([0])))

    def layer_groups(self) -> tuple[LayerGroup, ...]:
        """The layers in order, as runs of equal ones. Leaves are those of ONE layer."""
        return self._groups

    @cached_property
    def _groups(self) -> tuple[LayerGroup, ...]:
        return tuple(layer_groups(part for part in self._parts if isinstance(part, Run)))

    def outside_layers(self) -> tuple[Placed, ...]:
        """Leaves that stand in no layer: embeddings, final norm, head."""
        return tuple(part for part in self._parts if isinstance(part, Placed))

    @cached_property
    def between(self) -> Mapping[int, tuple[Placed, ...]]:
        """The leaves between layers, by how many layers come before: those between two towers."""
        found: dict[int, tuple[Placed, ...]] = {}
        reached = 0
        for part in self._parts:
            if isinstance(part, Run):
                reached += part.block.repeat
            elif 0 < reached < self.layers:
                found[reached] = (*found.get(reached, ()), part)
        return found

    def distinct(self) -> tuple[Placed, ...]:
        """The leaves outside the layers, and those of one layer of each kind."""
        return self._distinct

    @cached_property
    def _distinct(self) -> tuple[Placed, ...]:
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
        layers = [place for place, part in enumerate(self._parts) if isinstance(part, Run)]
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
