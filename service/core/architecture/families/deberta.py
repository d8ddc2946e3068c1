"""DeBERTa: attention between contents and relative positions.

deberta (He et al. 2020, arXiv 2006.03654), deberta-v2 (2111.09543).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, layer
from service.core.architecture.families.encoder import (
    BERT,
    classifier,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
)
from service.core.architecture.families.trunk import labels, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

DEBERTA = BERT | {
    "vocab_size": 50265,
    "type_vocab_size": 0,
    "relative_attention": False,
    "position_biased_input": True,
    "max_relative_positions": -1,
    "pooler_hidden_act": "gelu",
    "legacy": True,
}

DEBERTA_V2 = DEBERTA | {
    "vocab_size": 128100,
    "hidden_size": 1536,
    "num_hidden_layers": 24,
    "num_attention_heads": 24,
    "intermediate_size": 6144,
}


def deberta(config: Config) -> Network:
    """DebertaForMaskedLM: content and relative positions attend to each other."""
    config = read(config, DEBERTA)
    hidden = config.integer("hidden_size")
    if config.flag("talking_head"):
        raise refuse(config, "talking_head", "false")
    fused: list[Operator] = [
        Linear("in_proj", hidden, 3 * hidden, split="column"),
        Parameter("q_bias", (hidden,), Split.TENSOR),
        Parameter("v_bias", (hidden,), Split.TENSOR),
    ]
    kinds_of_position = _positions(config)
    if config.flag("relative_attention"):
        if "c2p" in kinds_of_position:
            fused.append(Linear("pos_proj", hidden, hidden, split="column"))
        if "p2c" in kinds_of_position:
            fused.append(Linear("pos_q_proj", hidden, hidden, True, "column"))
    return _deberta(config, tuple(fused), _span(config))


def deberta_v2(config: Config) -> Network:
    """DebertaV2ForMaskedLM: as DeBERTa, with buckets, shared keys and a convolution."""
    config = read(config, DEBERTA_V2)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    width = heads * (config.optional("attention_head_size", 1) or hidden // heads)
    if width != hidden:
        raise refuse(config, "attention_head_size", "hidden_size / num_attention_heads")
    names = ["query_proj", "key_proj", "value_proj"]
    if config.flag("relative_attention") and not config.flag("share_att_key"):
        kinds_of_position = _positions(config)
        names += ["pos_key_proj"] if "c2p" in kinds_of_position else []
        names += ["pos_query_proj"] if "p2c" in kinds_of_position else []
    buckets = config.optional("position_buckets", -1)
    span = buckets if buckets is not None and buckets > 0 else _span(config)
    products: Children = tuple(Linear(name, hidden, hidden, True, "column") for name in names)
    if config.flag("relative_attention"):
        products += _bucket_scores(hidden, heads, len(_positions(config)), 2 * span)
    return _deberta(config, products, span)


def _bucket_scores(hidden: int, heads: int, kinds: int, buckets: int) -> Children:
    """What is kept of the scores of all buckets, of which each pair is given one.

    The projected positions are repeated for each sample.
    """
    positions = Activation("position_keys", kinds * hidden, "gelu")
    scores = Activation("position_scores", kinds * heads * buckets, "gelu")
    return Block("positions", (positions,), stream=fixed(buckets)), scores


def _positions(config: Config) -> frozenset[str]:
    given = config.get("pos_att_type")
    items = given.lower().split("|") if isinstance(given, str) else config.sequence("pos_att_type")
    return frozenset(item.strip() for item in items if isinstance(item, str))


def _span(config: Config) -> int:
    """Half the rows of the table of relative positions."""
    reach = config.integer("max_relative_positions", -1)
    return reach if reach >= 1 else config.integer("max_position_embeddings")


def _deberta(config: Config, products: Children, span: int) -> Network:
    hidden = config.integer("hidden_size")
    width = config.optional("embedding_size", 1) or hidden
    block, first, mlp, second = encoder_layer(config, hidden)
    assert isinstance(block, Block)
    inner = (*products, *block.children[3:])
    layers = layer(
        replace(block, children=inner),
        first,
        mlp,
        second,
        repeat=config.layers("num_hidden_layers"),
    )
    top = on_top(config, _deberta_tops(config, hidden, width))
    parts = (_deberta_embeddings(config, hidden, width), layers, *_relative(config, span), *top)
    return encoder(config, hidden, parts)


def _deberta_embeddings(config: Config, hidden: int, width: int) -> Block:
    rows = config.rows("vocab_size")
    tables: list[Operator] = [Embedding("word_embeddings", rows, width, Split.TENSOR, input=True)]
    if config.flag("position_biased_input"):
        limit = config.rows("max_position_embeddings")
        tables.append(Embedding("position_embeddings", limit, width))
    if config.rows("type_vocab_size"):
        tables.append(Embedding("token_type_embeddings", config.rows("type_vocab_size"), width))
    if width != hidden:
        tables.append(Linear("embed_proj", width, hidden))
    dropout = dropped(hidden, probability(config, "hidden_dropout_prob"))
    return Block("embedding", (*tables, norm("LayerNorm", hidden), *dropout))


def _relative(config: Config, span: int) -> Children:
    """The table of relative positions, its norm, and the convolution after the first layer."""
    hidden = config.integer("hidden_size")
    found: list[Operator] = []
    if config.flag("relative_attention"):
        found.append(Embedding("rel_embeddings", 2 * span, hidden))
    normed = config.text("norm_rel_ebd", "none").lower().split("|")
    if "layer_norm" in [item.strip() for item in normed]:
        found.append(norm("LayerNorm", hidden))
    kernel = config.optional("conv_kernel_size", 0)
    if kernel:
        groups = config.optional("conv_groups", 1) or 1
        found.append(Convolution("conv", hidden, hidden, (kernel,), groups))
        found.append(norm("conv_norm", hidden))
    return (Block("positions", tuple(found)),) if found else ()


def _deberta_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    act = config.text("hidden_act")
    if config.flag("legacy"):
        lm = masked_lm(hidden, width, rows, tied, act)
    else:
        dense = (Linear("dense", hidden, hidden, True), Activation("act", hidden, act))
        bias = Parameter("bias", (rows,), Split.TENSOR)
        lm = Block("head", (*dense, norm("LayerNorm", hidden), bias))
    pooled = config.optional("pooler_hidden_size", 1) or hidden
    pool = Block("pooler", (Linear("dense", pooled, pooled, True),))
    return {
        "ForMaskedLM": (lm,),
        "Model": (),
        "ForSequenceClassification": (pool, classifier(hidden, labels(config))),
        "ForMultipleChoice": (pool, classifier(hidden, 1)),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }


FAMILIES = {
    "deberta": deberta,
    "deberta-v2": deberta_v2,
}
