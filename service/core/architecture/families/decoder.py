"""The common decoder layer: attention and a (gated) feed-forward block, each with its norm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from service.core.architecture.operators import (
    Activation,
    Attention,
    Dropout,
    Embedding,
    Linear,
    Norm,
    Operator,
    Rotary,
    Split,
)
from service.core.architecture.polynomial import Stream
from service.core.architecture.tree import Block, Routing

Children = tuple[Block | Operator, ...]


@dataclass(frozen=True)
class AttentionShape:
    """What differs between the attention blocks of decoder families."""

    hidden: int
    heads: int
    key_value_heads: int
    head_dim: int
    value_dim: int | None = None
    bias: bool = False
    output_bias: bool = False
    rotary: bool = True
    window: int | None = None
    causal: bool = True
    head_norm: Norm | None = None
    """Normalises queries and keys; width and copies are set here."""
    whole_norm: bool = False
    """Normalises all heads as one vector (OLMo 2) instead of each head (Qwen3, Gemma 3)."""
    fused: str | None = None
    """The name of one projection for queries, keys and values together."""
    gate: bool = False
    """The query projection also makes a gate for the output (Qwen3-Next)."""
    dropout: float = 0.0
    residual_dropout: float = 0.0
    keys: Stream | None = None
    key_inputs: int | None = None
    """Width of the stream that keys and values come from (cross attention)."""
    names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj")
    sinks: bool = False
    extra: Children = field(default=())


def attention(shape: AttentionShape) -> Block:
    """Multi-head, grouped-query or multi-query attention."""
    value_dim = shape.value_dim or shape.head_dim
    groups = shape.key_value_heads
    children: list[Block | Operator] = [*_projections(shape, value_dim), *_head_norms(shape)]
    if shape.rotary:
        children.append(Rotary("rotary", (shape.heads + groups) * shape.head_dim))
    children.append(
        Attention(
            "attention",
            shape.heads,
            groups,
            shape.head_dim,
            value_dim,
            shape.causal,
            shape.window,
            shape.keys,
            shape.dropout,
            sinks=shape.sinks,
        )
    )
    outputs = shape.heads * value_dim
    if shape.gate:
        children.append(Activation("output_gate", outputs, "sigmoid", gated=True))
    children.append(Linear(shape.names[3], outputs, shape.hidden, shape.output_bias, "row"))
    children += dropped(shape.hidden, shape.residual_dropout, "resid_dropout")
    return Block("attention", (*children, *shape.extra))


def _projections(shape: AttentionShape, value_dim: int) -> list[Block | Operator]:
    hidden, bias, groups = shape.hidden, shape.bias, shape.key_value_heads
    queries, keys, values = (
        shape.heads * shape.head_dim * (2 if shape.gate else 1),
        groups * shape.head_dim,
        groups * value_dim,
    )
    if shape.fused:
        return [Linear(shape.fused, hidden, queries + keys + values, bias, "column")]
    q, k, v, _ = shape.names
    source, crossed = shape.key_inputs or hidden, shape.key_inputs is not None
    query = Linear(q, hidden, queries, bias, "column")
    key = Linear(k, source, keys, bias, "column", groups, keeps_input=crossed)
    value = Linear(v, source, values, bias, "column", groups, keeps_input=False)
    if shape.keys is not None:
        return [query, Block("cross_attention", (key, value), stream=shape.keys)]
    return [query, key, value]


def _head_norms(shape: AttentionShape) -> list[Operator]:
    norm, dim = shape.head_norm, shape.head_dim
    if norm is None:
        return []
    pairs = (("q_norm", shape.heads), ("k_norm", shape.key_value_heads))
    if shape.whole_norm:
        return [replace(norm, name=name, width=heads * dim) for name, heads in pairs]
    return [
        replace(norm, name=name, width=dim, copies=heads, split=Split.TENSOR)
        for name, heads in pairs
    ]


def gated_mlp(
    hidden: int,
    intermediate: int,
    activation: str = "silu",
    bias: bool = False,
    name: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    inner_dropout: float = 0.0,
) -> Block:
    """`down(act(gate(x)) * up(x))`: SwiGLU, GeGLU."""
    gate, up, down = names
    return Block(
        name,
        (
            Linear(gate, hidden, intermediate, bias, "column"),
            Linear(up, hidden, intermediate, bias, "column", keeps_input=False),
            Activation("act", intermediate, activation, gated=True),
            *dropped(intermediate, inner_dropout, "inner_dropout", Split.TENSOR),
            Linear(down, intermediate, hidden, bias, "row"),
        ),
    )


def plain_mlp(
    hidden: int,
    intermediate: int,
    activation: str = "gelu",
    bias: bool = True,
    names: tuple[str, str] = ("up_proj", "down_proj"),
    dropout: float = 0.0,
    name: str = "mlp",
    inner_dropout: float = 0.0,
) -> Block:
    """`down(act(up(x)))`."""
    up, down = names
    return Block(
        name,
        (
            Linear(up, hidden, intermediate, bias, "column"),
            Activation("act", intermediate, activation),
            *dropped(intermediate, inner_dropout, "inner_dropout", Split.TENSOR),
            Linear(down, intermediate, hidden, bias, "row"),
            *dropped(hidden, dropout),
        ),
    )


def fused_gated_mlp(
    hidden: int,
    intermediate: int,
    activation: str = "silu",
    bias: bool = False,
    names: tuple[str, str] = ("gate_up_proj", "down_proj"),
    dropout: float = 0.0,
    name: str = "mlp",
) -> Block:
    """A gated feed-forward whose gate and up projections are one product."""
    up, down = names
    return Block(
        name,
        (
            Linear(up, hidden, 2 * intermediate, bias, "column"),
            Activation("act", intermediate, activation, gated=True),
            Linear(down, intermediate, hidden, bias, "row"),
            *dropped(hidden, dropout),
        ),
    )


def dropped(
    hidden: int, probability: float, name: str = "dropout", split: Split = Split.WHOLE
) -> tuple[Operator, ...]:
    """A dropout, or nothing where its probability is 0."""
    return (Dropout(name, hidden, probability, split),) if probability else ()


def mixture(
    hidden: int,
    expert: Block,
    count: int,
    active: float,
    router_bias: bool = False,
    shared: Children = (),
    router: str = "gate",
) -> Block:
    """A router, `count` experts of which `active` work on a token, and shared parts."""
    choice = Block("router", (Linear(router, hidden, count, router_bias),))
    experts = Block("experts", expert.children, routing=Routing(count, active))
    return Block("mixture", (choice, experts, *shared))


def layer(*children: Block | Operator, repeat: int = 1, shared: bool = False) -> Block:
    """`repeat` equal layers."""
    return Block("layer", children, repeat=repeat, shared=shared, layer=True)


def embedding(rows: int, width: int, name: str = "embed_tokens") -> Block:
    """The token embedding, divided over the vocabulary under tensor parallelism."""
    return Block("embedding", (Embedding(name, rows, width, Split.TENSOR, input=True),))


def head(hidden: int, rows: int, tied: bool, bias: bool = False, name: str = "lm_head") -> Block:
    """The output projection on the vocabulary."""
    return Block("head", (Linear(name, hidden, rows, bias, "column", tied=tied, head=True),))
