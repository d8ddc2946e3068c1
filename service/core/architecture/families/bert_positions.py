"""Encoders near BERT whose positions are relative or rotary.

mpnet (Song et al. 2020, arXiv 2004.09297), roformer (2104.09864), esm (Lin et al. 2023).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert_pre_norm import pre_norm_layer
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped
from service.core.architecture.families.encoder import (
    BERT,
    bert_tops,
    embeddings,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
    pooler,
    stack,
)
from service.core.architecture.families.trunk import probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Rotary,
    Split,
)
from service.core.architecture.tree import Block

MPNET = BERT | {"vocab_size": 30527, "relative_attention_num_buckets": 32, "type_vocab_size": 0}

ROFORMER = BERT | {"vocab_size": 50000, "max_position_embeddings": 1536}

ESM = BERT | {
    "vocab_size": 33,
    "max_position_embeddings": 1026,
    "position_embedding_type": "absolute",
    "emb_layer_norm_before": False,
}


def mpnet(config: Config) -> Network:
    """MPNetForMaskedLM: relative position biases that all layers share."""
    config = read(config, MPNET)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    buckets = config.rows("relative_attention_num_buckets")
    shared = Block("positions", (Embedding("relative_attention_bias", buckets, heads),))
    layers = stack(config, encoder_layer(config, hidden))
    tops = {
        "ForMaskedLM": bert_tops(config, hidden, hidden)["ForMaskedLM"],
        "Model": (pooler(hidden),),
    }
    parts = (embeddings(config, hidden), shared, layers, *on_top(config, tops))
    return encoder(config, hidden, parts)


def roformer(config: Config) -> Network:
    """RoFormerForMaskedLM: rotary positions, whose table counts as parameters there."""
    config = read(config, ROFORMER)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    width = config.optional("embedding_size", 1) or hidden
    rows = config.rows("vocab_size")
    tables: tuple[Operator, ...] = (
        Embedding("word_embeddings", rows, width, Split.TENSOR, input=True),
        Embedding("token_type_embeddings", config.rows("type_vocab_size"), width),
        norm("LayerNorm", width),
        *dropped(width, probability(config, "hidden_dropout_prob")),
    )
    project = (Linear("embeddings_project", width, hidden, True),) if width != hidden else ()
    places = Embedding("embed_positions", config.rows("max_position_embeddings"), hidden // heads)
    lm = masked_lm(
        hidden, width, rows, config.flag("tie_word_embeddings"), config.text("hidden_act")
    )
    attention, *rest = encoder_layer(config, hidden)
    rotary = _rotary(attention, 2 * hidden)
    parts = (
        Block("embedding", (*tables, *project, places)),
        stack(config, (rotary, *rest)),
        *on_top(config, {"ForMaskedLM": (lm,), "Model": ()}),
    )
    return encoder(config, hidden, parts)


def _rotary(block: Block | Operator, width: int) -> Block:
    """An attention block with rotary positions before its attention."""
    assert isinstance(block, Block)
    found: list[Block | Operator] = []
    for child in block.children:
        if isinstance(child, Attention):
            found.append(Rotary("rotary", width))
        found.append(child)
    return replace(block, children=tuple(found))


def esm(config: Config) -> Network:
    """EsmForMaskedLM: a protein language model, norms before each half."""
    config = read(config, ESM)
    kind = config.text("position_embedding_type")
    if kind not in ("rotary", "absolute") or config.flag("is_folding_model"):
        raise refuse(config, "position_embedding_type", "rotary, absolute, without folding")
    hidden = config.integer("hidden_size")
    first, attention, second, mlp = pre_norm_layer(config, hidden)
    rotary = _rotary(attention, 2 * hidden) if kind == "rotary" else attention
    parts = (
        Block("embedding", _esm_tables(config, hidden, kind == "rotary")),
        stack(config, (first, rotary, second, mlp)),
        Block("norm", (norm("emb_layer_norm_after", hidden),)),
        *on_top(config, _esm_tops(config, hidden)),
    )
    return encoder(config, hidden, parts)


def _esm_tables(config: Config, hidden: int, rotary: bool) -> Children:
    rows, limit = config.rows("vocab_size"), config.rows("max_position_embeddings")
    table = Embedding("word_embeddings", rows, hidden, Split.TENSOR, input=True)
    places = Rotary("rotary", 0) if rotary else Embedding("position_embeddings", limit, hidden)
    before = (norm("layer_norm", hidden),) if config.flag("emb_layer_norm_before") else ()
    return table, places, *before


def _esm_tops(config: Config, hidden: int) -> Mapping[str, Children]:
    """The language head, and the regression of contacts on all attention maps."""
    rows = config.rows("vocab_size")
    lm = Block(
        "head",
        (
            Linear("dense", hidden, hidden, True),
            Activation("gelu", hidden, "gelu"),
            norm("layer_norm", hidden),
            Linear(
                "decoder", hidden, rows, split="column",
                tied=config.flag("tie_word_embeddings"), head=True,
            ),
            Parameter("bias", (rows,), Split.TENSOR),
        ),
    )  # fmt: skip
    contact = Block(
        "contact_head",
        (
            Linear(
                "regression",
                config.layers("num_hidden_layers") * config.integer("num_attention_heads"),
                1,
                True,
            ),
        ),
    )
    return {"ForMaskedLM": (contact, lm), "Model": (pooler(hidden), contact)}


FAMILIES = {
    "esm": esm,
    "mpnet": mpnet,
    "roformer": roformer,
}
