"""Kosmos-2: a decoder that reads an image as latent queries (Peng et al. 2023, arXiv 2306.14824).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.clip import CLIP_VISION, clip_vision
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    Children,
    attention,
    head,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.multimodal import crossed
from service.core.architecture.families.opt import fairseq_shape
from service.core.architecture.families.trunk import head_width, probability, read, refuse, ties
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

KOSMOS_TEXT = {
    "vocab_size": 65037,
    "max_position_embeddings": 2048,
    "embed_dim": 2048,
    "layers": 24,
    "ffn_dim": 8192,
    "attention_heads": 32,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
}


def kosmos2(config: Config) -> Network:
    """Kosmos2ForConditionalGeneration: learned queries read a CLIP tower for a decoder."""
    text = read(config.section("text_config"), KOSMOS_TEXT)
    if text.flag("add_cross_attention"):
        raise refuse(text, "add_cross_attention", "false")
    vision = read(
        config.section("vision_config"),
        CLIP_VISION
        | {"hidden_size": 1024, "intermediate_size": 4096, "patch_size": 14}
        | {"num_hidden_layers": 24, "num_attention_heads": 16},
    )
    queries = Config(config.data, {"latent_query_num": 64}).integer("latent_query_num")
    hidden, heads = text.integer("embed_dim"), text.integer("attention_heads")
    width = vision.integer("hidden_size")
    side = vision.integer("image_size") // vision.integer("patch_size")
    positions = side * side + 1
    head_width(text, hidden, heads, "attention_heads")
    dense = Block("dense", (Linear("dense", width, hidden, True),), stream=fixed(positions))
    reading = attention(crossed(hidden, heads, positions + queries))
    latent = Parameter("latent_query", (queries, hidden))
    projector = Block("projector", (latent, dense, reading), stream=fixed(queries))
    tied = ties(config) or ties(text)
    rows = text.rows("vocab_size")
    top = on_top(
        config,
        {"ForConditionalGeneration": (head(hidden, rows, tied),), "Model": ()},
        "ForConditionalGeneration",
    )
    parts = (*clip_vision(vision), projector, *_kosmos_text(text), *top)
    network = encoder(config, hidden, parts)
    limit = text.integer("max_position_embeddings")
    return replace(network, vocabulary=rows, causal=True, sequence_limit=limit)


def _kosmos_text(config: Config) -> Children:
    hidden, heads = config.integer("embed_dim"), config.integer("attention_heads")
    inner, dropout = config.integer("ffn_dim"), probability(config, "dropout")
    masked = probability(config, "attention_dropout")
    shape = fairseq_shape(hidden, heads, hidden // heads, True, masked, dropout)
    own = _after(attention(shape), Attention, norm("inner_attn_ln", hidden))
    act = config.text("activation_function")
    mlp = plain_mlp(hidden, inner, act, names=("fc1", "fc2"), dropout=dropout)
    normed = _after(mlp, Activation, norm("ffn_layernorm", inner))
    rows = config.rows("vocab_size")
    table = Embedding("embed_tokens", rows, hidden, Split.TENSOR, input=True)
    layers = layer(
        norm("self_attn_layer_norm", hidden),
        own,
        norm("final_layer_norm", hidden),
        normed,
        repeat=config.layers("layers"),
    )
    return Block("embedding", (table,)), layers, Block("norm", (norm("layer_norm", hidden),))


def _after(block: Block, kind: type[Operator], added: Operator) -> Block:
    """The block with an operator after the one of that kind."""
    found: list[Block | Operator] = []
    for child in block.children:
        found += [child, added] if isinstance(child, kind) else [child]
    return replace(block, children=tuple(found))


FAMILIES = {
    "kosmos-2": kosmos2,
}
