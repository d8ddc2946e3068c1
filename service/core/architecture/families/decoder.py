"""The common decoder layer: attention and a (gated) feed-forward block, each with its norm."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.core.architecture.network import Block, Routing
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
    """Normalises queries and keys (Qwen3, Gemma 3, OLMo 2); `copies` is set here."""
    dropout: float = 0.0
    residual_dropout: float = 0.0
    keys: Stream | None = None
    key_inputs: int | None = None
    """Width of the stream that keys and values come from (cross attention)."""
    names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj")
    sinks: bool = False
    extra: Children = field(default=())


def attention(shape: AttentionShape) -> Block:
    """Multi-head, grouped-query or multi-query attention with separate projections."""
    q, k, v, o = shape.names
    value_dim = shape.value_dim or shape.head_dim
    groups = shape.key_value_heads
    source = shape.key_inputs or shape.hidden
    children: list[Block | Operator] = [
        Linear(q, shape.hidden, shape.heads * shape.head_dim, shape.bias, "column"),
        Linear(
            k,
            source,
            groups * shape.head_dim,
            shape.bias,
            "column",
            groups,
            keeps_input=shape.key_inputs is not None,
        ),
        Linear(v, source, groups * value_dim, shape.bias, "column", groups, keeps_input=False),
    ]
    children += _head_norms(shape)
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
    children.append(Linear(o, shape.heads * value_dim, shape.hidden, shape.output_bias, "row"))
    if shape.residual_dropout:
        children.append(Dropout("resid_dropout", shape.hidden, shape.residual_dropout))
    return Block("attention", (*children, *shape.extra))


def _head_norms(shape: AttentionShape) -> list[Operator]:
    norm = shape.head_norm
    if norm is None:
        return []
    if norm.width == shape.head_dim:
        query = Norm(
            "q_norm", norm.width, norm.kind, norm.weight, norm.bias, shape.heads, Split.TENSOR
        )
        key = Norm(
            "k_norm",
            norm.width,
            norm.kind,
            norm.weight,
            norm.bias,
            shape.key_value_heads,
            Split.TENSOR,
        )
        return [query, key]
    query_width, key_width = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    return [
        Norm("q_norm", query_width, norm.kind, norm.weight, norm.bias),
        Norm("k_norm", key_width, norm.kind, norm.weight, norm.bias),
    ]


def gated_mlp(
    hidden: int,
    intermediate: int,
    activation: str = "silu",
    bias: bool = False,
    name: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Block:
    """`down(act(gate(x)) * up(x))`: SwiGLU, GeGLU."""
    gate, up, down = names
    return Block(
        name,
        (
            Linear(gate, hidden, intermediate, bias, "column"),
            Linear(up, hidden, intermediate, bias, "column", keeps_input=False),
            Activation("act", intermediate, activation, gated=True),
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
) -> Block:
    """`down(act(up(x)))`."""
    up, down = names
    tail = (Dropout("dropout", hidden, dropout),) if dropout else ()
    return Block(
        name,
        (
            Linear(up, hidden, intermediate, bias, "column"),
            Activation("act", intermediate, activation),
            Linear(down, intermediate, hidden, bias, "row"),
            *tail,
        ),
    )


def mixture(
    hidden: int,
    expert: Block,
    count: int,
    active: float,
    router_bias: bool = False,
    shared: Children = (),
) -> Block:
    """A router, `count` experts of which `active` work on a token, and shared parts."""
    router = Block("router", (Linear("gate", hidden, count, router_bias),))
    experts = Block("experts", expert.children, routing=Routing(count, active))
    return Block("mixture", (router, experts, *shared))


def layer(*children: Block | Operator, repeat: int = 1, shared: bool = False) -> Block:
    """`repeat` equal layers."""
    return Block("layer", children, repeat=repeat, shared=shared, layer=True)


def embedding(rows: int, width: int, name: str = "embed_tokens") -> Block:
    """The token embedding, divided over the vocabulary under tensor parallelism."""
    return Block("embedding", (Embedding(name, rows, width, Split.TENSOR, input=True),))


def head(hidden: int, rows: int, tied: bool, bias: bool = False, name: str = "lm_head") -> Block:
    """The output projection on the vocabulary."""
    return Block("head", (Linear(name, hidden, rows, bias, "column", tied=tied, head=True),))
