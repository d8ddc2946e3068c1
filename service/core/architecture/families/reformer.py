"""Reformer: attention within buckets of hashes, reversible layers (Kitaev et al. 2020, 2001.04451).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, dropped, plain_mlp
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.pictures import whole_numbers
from service.core.architecture.families.trunk import agree, probability, read, refuse, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Attention,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.tree import Block

REFORMER = {
    "vocab_size": 320,
    "attention_head_size": 64,
    "attn_layers": ["local", "lsh", "local", "lsh", "local", "lsh"],
    "axial_pos_embds": True,
    "axial_pos_shape": [64, 64],
    "axial_pos_embds_dim": [64, 192],
    "feed_forward_size": 512,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.05,
    "hidden_size": 256,
    "local_attn_chunk_length": 64,
    "lsh_attn_chunk_length": 64,
    "local_num_chunks_before": 1,
    "local_num_chunks_after": 0,
    "lsh_num_chunks_before": 1,
    "lsh_num_chunks_after": 0,
    "num_hashes": 1,
    "max_position_embeddings": 4096,
    "num_attention_heads": 12,
    "tie_word_embeddings": False,
}


def _reformer_attention(config: Config, kind: str, hidden: int) -> Block:
    """Attention within chunks, of neighbours or of positions with one hash."""
    heads, width = config.integer("num_attention_heads"), config.integer("attention_head_size")
    inner = heads * width
    names = ("query", "key", "value") if kind == "local" else ("query_key", "value")
    chunk = config.integer(f"{kind}_attn_chunk_length")
    seen = 1 + config.integer(f"{kind}_num_chunks_before", 0)
    seen += config.integer(f"{kind}_num_chunks_after", 0)
    hashes = config.integer("num_hashes") if kind == "lsh" else 1
    causal = config.flag("is_decoder")
    return Block(
        "attention",
        (
            *(Linear(name, hidden, inner, False, "column") for name in names),
            Attention(
                "attention", heads, heads, width, width, causal, window=chunk * seen * hashes
            ),
            Linear("dense", inner, hidden, False, "row"),
        ),
    )


def reformer(config: Config) -> Network:
    """ReformerModel: reversible layers over two copies of the hidden states."""
    config = read(config, REFORMER)
    hidden, rows = config.integer("hidden_size"), config.rows("vocab_size")
    kinds = list(config.sequence("attn_layers"))
    if not kinds or any(kind not in ("local", "lsh") for kind in kinds):
        raise refuse(config, "attn_layers", "local, lsh")
    agree(config, "num_hidden_layers", len(kinds))
    inner, act = config.integer("feed_forward_size"), config.text("hidden_act")
    dropout = probability(config, "hidden_dropout_prob")
    mlp = plain_mlp(hidden, inner, act, names=("dense", "output"), dropout=dropout)

    def make(kind: str) -> Children:
        own = _reformer_attention(config, kind, hidden)
        return norm("attention_norm", hidden), own, norm("feed_forward_norm", hidden), mlp

    table = Embedding("word_embeddings", rows, hidden, Split.TENSOR, input=True)
    body = (
        Block("embedding", (table, *_places(config, hidden), *dropped(hidden, dropout))),
        *runs(kinds, make),
        Block("norm", (norm("layer_norm", 2 * hidden),)),
    )
    tied = config.flag("tie_word_embeddings")
    decoder = Linear("decoder", 2 * hidden, rows, False, "column", head=True)
    lm = Block("head", (decoder, Parameter("bias", (rows,), Split.TENSOR)))
    tops: dict[str, Children] = {"ReformerModel": ()}
    if not tied:
        tops |= {"ModelWithLMHead": (lm,), "ForMaskedLM": (lm,)}
    network = encoder(config, hidden, (*body, *on_top(config, tops, "ReformerModel")))
    return replace(network, causal=config.flag("is_decoder"))


def _places(config: Config, hidden: int) -> tuple[Operator, ...]:
    """Positions as one table, or as sums over axes of small ones."""
    if not config.flag("axial_pos_embds"):
        return (Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden),)
    shape = whole_numbers(config, "axial_pos_shape")
    widths = whole_numbers(config, "axial_pos_embds_dim")
    if len(shape) != len(widths) or sum(widths) != hidden:
        raise ConfigError(
            config.where("axial_pos_embds_dim"), "axial_pos_embds_dim must sum to hidden_size"
        )
    pairs = zip(shape, widths, strict=True)
    return tuple(Parameter(f"weights.{i}", (n, width)) for i, (n, width) in enumerate(pairs))


FAMILIES = {
    "reformer": reformer,
}
