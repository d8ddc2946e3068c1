"""Networks from a handful of sizes: published runs give no more.

`gpt` is the GPT-2 and Megatron shape (learned positions, LayerNorm, a plain feed-forward) and
`llama` the Llama shape (rotary positions, RMSNorm, a gated feed-forward).
"""

from __future__ import annotations

import math
from functools import lru_cache

from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    gated_mlp,
    head,
    layer,
    plain_mlp,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm, Split
from service.core.architecture.tree import Block


@lru_cache(maxsize=1024)
def gpt(
    layers: int,
    hidden: int,
    heads: int,
    *,
    key_value_heads: int | None = None,
    intermediate: int | None = None,
    vocabulary: int = 51200,
    positions: int = 2048,
    tied: bool = True,
    dropout: float = 0.1,
    causal: bool = True,
) -> Network:
    """A GPT-2 or Megatron shape. `positions` 0: none that are learned."""
    shape = AttentionShape(
        hidden,
        heads,
        key_value_heads or heads,
        hidden // heads,
        bias=True,
        output_bias=True,
        rotary=False,
        causal=causal,
        dropout=dropout,
        residual_dropout=dropout,
        fused="qkv",
    )
    norm = Norm("norm", hidden, "layer", bias=True)
    mlp = plain_mlp(hidden, intermediate or 4 * hidden, dropout=dropout)
    learned = (Embedding("positions", positions, hidden),) if positions else ()
    before = (*learned, *dropped(hidden, dropout))
    body = layer(norm, attention(shape), norm, mlp, repeat=layers)
    return _network("gpt", body, norm, vocabulary, hidden, tied, before)


@lru_cache(maxsize=1024)
def llama(
    layers: int,
    hidden: int,
    heads: int,
    *,
    key_value_heads: int | None = None,
    intermediate: int | None = None,
    vocabulary: int = 128256,
    tied: bool = False,
) -> Network:
    """A Llama shape; the feed-forward defaults to 8/3 of the hidden size, in steps of 256."""
    width = intermediate or 256 * math.ceil(8 * hidden / 3 / 256)
    shape = AttentionShape(hidden, heads, key_value_heads or heads, hidden // heads)
    norm = Norm("norm", hidden)
    body = layer(norm, attention(shape), norm, gated_mlp(hidden, width), repeat=layers)
    return _network("llama", body, norm, vocabulary, hidden, tied, ())


def _network(
    name: str,
    body: Block,
    norm: Norm,
    vocabulary: int,
    hidden: int,
    tied: bool,
    before: Children,
) -> Network:
    table = Embedding("embed_tokens", vocabulary, hidden, Split.TENSOR, input=True)
    root = (
        Block("embedding", (table, *before)),
        body,
        Block("norm", (norm,)),
        head(hidden, vocabulary, tied),
    )
    return Network("", name, Block("model", root), vocabulary, hidden)
