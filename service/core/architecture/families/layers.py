"""Networks written by hand: a list of typed layers, or any tree of operators as JSON.

    [{"type": "input", "size": [32, 32]},
     {"type": "convolution", "inputs": 3, "outputs": 64, "kernel": 3, "padding": 1},
     {"type": "norm", "kind": "batch", "width": 64},
     {"type": "activation", "kind": "relu", "width": 64},
     {"type": "pool", "width": 64, "kernel": 2},
     {"type": "flatten"},
     {"type": "linear", "inputs": 16384, "outputs": 10}]

Each item has a `type` and the fields of that type; `repeat` stands for as many equal copies and
`name` names it. `block` holds a list of its own (`layers`) and may be a `layer` (the unit of
pipelines and recomputation), `shared` among its repeats, `frozen`, a mixture of `experts`
(`{"count": 8, "active": 2}`), or run on `positions` of its own. `self_attention`, `gated_mlp` and
`mlp` stand for the common blocks of transformers. A network with a token embedding runs on the
request's sequence; one with an `input` size runs on that many positions; any other on one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import LIMITS, Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    attention,
    gated_mlp,
    plain_mlp,
)
from service.core.architecture.families.layer_fields import (
    OPERATORS,
    State,
    only,
    read_operator,
    read_stream,
    sizes,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Operator
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block, Routing, extent

_BLOCKS = ("block", "self_attention", "gated_mlp", "mlp", "input", "flatten")

KINDS = (*OPERATORS, *_BLOCKS)
"""Every `type` that an item may have."""

MAXIMUM_ITEMS = 1_500

MAXIMUM_PARTS = 3_000
"""Operators outside the layers, and runs of layers, with the repeats around them."""

MAXIMUM_DEPTH = 32


def build(document: Sequence[Any], name: str = "", field: str = "layers") -> Network:
    """The network of a list of layers. Raises ConfigError with the path of the field."""
    if not isinstance(document, list | tuple):
        raise ConfigError(field, "layers must be a list")
    state = State()
    children = _children(document, field, state, 0)
    root = Block("model", children, stream=None if state.tokens else fixed(1.0))
    _check_extent(root, field)
    network = Network(
        name, "layers", root, state.rows, state.width, causal=state.tokens, tokens=state.tokens
    )
    weights = (weight for leaf in network.distinct() for weight in leaf.weights())
    if not any(weight.elements for weight in weights if not weight.alias):
        raise ConfigError(field, "no layer here holds a parameter")
    return network


def _check_extent(root: Block, field: str) -> None:
    """Refuse repeats of repeats that come to more than any network has."""
    found = extent(root)
    if found.layers > LIMITS["layers"]:
        raise ConfigError(field, f"the repeats come to more than {LIMITS['layers']} layers")
    if found.parts > MAXIMUM_PARTS:
        detail = f"the repeats put more than {MAXIMUM_PARTS} operators between layers"
        raise ConfigError(field, detail)


def _children(
    document: Sequence[Any], path: str, state: State, depth: int
) -> tuple[Block | Operator, ...]:
    if depth > MAXIMUM_DEPTH:
        raise ConfigError(path, f"blocks may be nested {MAXIMUM_DEPTH} deep at most")
    found: list[Block | Operator] = []
    for index, item in enumerate(document):
        state.items += 1
        where = f"{path}.{index}"
        if state.items > MAXIMUM_ITEMS:
            raise ConfigError(where, f"at most {MAXIMUM_ITEMS} layers; use repeat")
        if not isinstance(item, Mapping):
            raise ConfigError(where, "a layer must be an object with a type")
        found.extend(_item(Config(item, path=where), state, depth))
    return tuple(found)


def _item(item: Config, state: State, depth: int) -> tuple[Block | Operator, ...]:
    kind = item.text("type")
    if kind == "input":
        state.size = sizes(item, "size", {"type", "size"})
        return ()
    if kind == "flatten":
        only(item, set())
        state.size = (1,)
        return ()
    repeat = item.integer("repeat", 1, LIMITS["layers"]) if "repeat" in item.data else 1
    before = state.size
    made = _made(item, kind, state, depth)
    if repeat > 1 and state.size != before:
        raise ConfigError(item.where("repeat"), "a layer that changes the size cannot be repeated")
    if kind == "block":
        return (replace(made, repeat=repeat),) if isinstance(made, Block) else (made,)
    stream = state.stream()
    if repeat == 1 and stream is None:
        return (made,)
    name = made.name
    inner = made.children if isinstance(made, Block) else (made,)
    return (Block(name, inner, repeat=repeat, stream=stream),)


def _made(item: Config, kind: str, state: State, depth: int) -> Block | Operator:
    if kind == "block":
        return _block(item, state, depth)
    if kind in _SHORT:
        return _SHORT[kind](item)
    if kind not in OPERATORS:
        known = ", ".join(sorted(KINDS))
        raise ConfigError(item.where("type"), f"type {kind[:60]!r} is not one of {known}")
    operator = read_operator(item, kind, state)
    if isinstance(operator, Embedding) and operator.input:
        state.tokens, state.rows, state.width = True, operator.rows, operator.width
    return operator


def _block(item: Config, state: State, depth: int) -> Block:
    allowed = {"layers", "shared", "layer", "frozen", "reused", "alias", "positions", "experts"}
    only(item, allowed)
    inner = item.data.get("layers")
    if not isinstance(inner, list | tuple):
        raise ConfigError(item.where("layers"), "layers must be a list")
    stream = read_stream(item, "positions")
    state.tokens = state.tokens or (stream is not None and stream.per_token > 0)
    children = _children(inner, item.where("layers"), state, depth + 1)
    return Block(
        item.text("name", "block"),
        children,
        shared=item.flag("shared"),
        layer=item.flag("layer"),
        frozen=item.flag("frozen"),
        reused=item.flag("reused"),
        alias=item.flag("alias"),
        stream=stream,
        routing=_routing(item),
    )


def _routing(item: Config) -> Routing | None:
    if item.get("experts") is None:
        return None
    experts = item.section("experts")
    count = experts.integer("count", 1, 100_000)
    return Routing(count, experts.number("active", 0, count))


def _self_attention(item: Config) -> Block:
    only(
        item,
        {"hidden", "heads", "key_value_heads", "head_dim", "bias", "rotary", "causal", "window"},
    )
    hidden, heads = item.integer("hidden"), item.integer("heads")
    shape = AttentionShape(
        hidden,
        heads,
        item.optional("key_value_heads", 1) or heads,
        item.optional("head_dim", 1) or hidden // heads,
        bias=item.flag("bias"),
        output_bias=item.flag("bias"),
        rotary=item.flag("rotary") if "rotary" in item.data else True,
        causal=item.flag("causal") if "causal" in item.data else True,
        window=item.optional("window", 1),
    )
    return attention(shape)


def _gated_mlp(item: Config) -> Block:
    only(item, {"hidden", "intermediate", "activation", "bias"})
    sizes = item.integer("hidden"), item.integer("intermediate")
    return gated_mlp(*sizes, item.text("activation", "silu"), item.flag("bias"))


def _mlp(item: Config) -> Block:
    only(item, {"hidden", "intermediate", "activation", "bias"})
    bias = item.flag("bias") if "bias" in item.data else True
    sizes = item.integer("hidden"), item.integer("intermediate")
    return plain_mlp(*sizes, item.text("activation", "gelu"), bias)


_SHORT: Mapping[str, Callable[[Config], Block]] = {
    "self_attention": _self_attention,
    "gated_mlp": _gated_mlp,
    "mlp": _mlp,
}
