"""The BART line for long inputs: attention in blocks with some global tokens.

pegasus_x (Phang et al. 2022, arXiv 2208.04347), bigbird_pegasus (2007.14062).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import (
    BART,
    PRE_NORM,
    conditional,
    shared_tables,
    tower_layer,
    tower_norm,
)
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.trunk import probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Embedding, Linear, Operator
from service.core.architecture.polynomial import TOKENS
from service.core.architecture.tree import Block

PEGASUS_X = BART | {
    "vocab_size": 96103,
    "max_position_embeddings": 16384,
    "encoder_layers": 16,
    "decoder_layers": 16,
    "num_global_tokens": 32,
    "block_size": 512,
}

BIGBIRD = PEGASUS_X | {
    "max_position_embeddings": 4096,
    "activation_function": "gelu_new",
    "attention_type": "block_sparse",
    "block_size": 64,
    "num_random_blocks": 3,
    "use_bias": False,
}


def _unbiased(node: Block | Operator, bias: bool = False) -> Block | Operator:
    """Attention products without biases."""
    if isinstance(node, Block):
        return replace(node, children=tuple(_unbiased(child, bias) for child in node.children))
    return replace(node, bias=bias) if isinstance(node, Linear) else node


def _bare(parts: Children, bias: bool = False) -> Children:
    """A layer whose attention blocks have no biases (or only where the config says so)."""
    named = ("attention", "cross_attention")
    return tuple(_unbiased(part, bias) if part.name in named else part for part in parts)


def _windowed(parts: Children, reach: int) -> Children:
    def seen(node: Block | Operator) -> Block | Operator:
        if isinstance(node, Block):
            return replace(node, children=tuple(map(seen, node.children)))
        return replace(node, window=reach) if isinstance(node, Attention) else node

    return tuple(seen(part) for part in parts)


def pegasus_x(config: Config) -> Network:
    """PegasusXForConditionalGeneration: local blocks and global tokens."""
    config = read(config, PEGASUS_X)
    hidden = config.integer("d_model")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))
    count = config.rows("num_global_tokens")
    globally = Embedding("embed_global", count, hidden)
    listening = _bare(tower_layer(config, "encoder", PRE_NORM))
    reach = config.integer("block_size") + count
    beside = norm("global_self_attn_layer_norm", hidden)
    parts = (
        Block("embedding", (shared, heard, globally, *dropout)),
        layer(*_windowed(listening, reach), beside, repeat=config.layers("encoder_layers")),
        tower_norm(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, *dropout)),
        layer(
            *_bare(tower_layer(config, "decoder", PRE_NORM, TOKENS)),
            repeat=config.layers("decoder_layers"),
        ),
        tower_norm(config, "decoder_norm"),
    )
    return conditional(config, parts)


def bigbird_pegasus(config: Config) -> Network:
    """BigBirdPegasusForConditionalGeneration: block-sparse attention in the encoder."""
    config = read(config, BIGBIRD)
    hidden, kind = config.integer("d_model"), config.text("attention_type")
    if kind not in ("block_sparse", "original_full"):
        raise refuse(config, "attention_type", "block_sparse, original_full")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))
    places = Embedding("embed_positions", config.rows("max_position_embeddings"), hidden)
    bias = config.flag("use_bias")
    listening = _bare(tower_layer(config, "encoder", PRE_NORM), bias)
    if kind == "block_sparse":
        blocks = 5 + config.integer("num_random_blocks", 0)
        listening = _windowed(listening, config.integer("block_size") * blocks)
    speaking = _bare(tower_layer(config, "decoder", PRE_NORM, TOKENS), bias)
    parts = (
        Block("embedding", (shared, heard, places, *dropout)),
        layer(*listening, repeat=config.layers("encoder_layers")),
        tower_norm(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, places, *dropout)),
        layer(*speaking, repeat=config.layers("decoder_layers")),
        tower_norm(config, "decoder_norm"),
    )
    return conditional(config, parts)


FAMILIES = {
    "bigbird_pegasus": bigbird_pegasus,
    "pegasus_x": pegasus_x,
}
