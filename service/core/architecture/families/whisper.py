"""Whisper (Radford et al. 2022, arXiv 2212.04356): an encoder of sound, a decoder of text.

Its encoder sees a fixed number of audio frames. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import Line, tower_ends, tower_layer
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, head, layer
from service.core.architecture.families.encoder import encoder, on_top
from service.core.architecture.families.trunk import probability, read
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Embedding, Split
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

WHISPER = {
    "vocab_size": 51865,
    "num_mel_bins": 80,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "decoder_layers": 4,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "activation_function": "gelu",
    "d_model": 384,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "max_source_positions": 1500,
    "max_target_positions": 448,
    "tie_word_embeddings": True,
}

WHISPER_LINE = Line(before=True, embedding_norm=False, key_bias=False)


def audio_tower(config: Config) -> Children:
    """Whisper's encoder: two convolutions over mel frames, then layers on half as many."""
    hidden, frames = config.integer("d_model"), config.integer("max_source_positions")
    act = Activation("gelu", hidden, "gelu")
    first = Convolution("conv1", config.integer("num_mel_bins"), hidden, (3,))
    front = Block(
        "audio_embedding",
        (
            Block("conv1", (first, act), stream=fixed(2 * frames)),
            Convolution("conv2", hidden, hidden, (3,), input_positions=2.0),
            act,
            Embedding("embed_positions", frames, hidden),
            *dropped(hidden, probability(config, "dropout")),
        ),
    )
    layers = layer(
        *tower_layer(config, "encoder", WHISPER_LINE), repeat=config.layers("encoder_layers")
    )
    blocks = (front, layers, *tower_ends(config, WHISPER_LINE, "encoder"))
    return tuple(replace(block, stream=fixed(frames)) for block in blocks)


def whisper(config: Config) -> Network:
    """WhisperForConditionalGeneration: an encoder of sound, a decoder of text."""
    config = read(config, WHISPER, {"max_position_embeddings": "max_target_positions"})
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    frames, tied = config.integer("max_source_positions"), config.flag("tie_word_embeddings")
    table = Embedding("embed_tokens", rows, hidden, Split.TENSOR, input=True)
    places = Embedding("embed_positions", config.rows("max_target_positions"), hidden)
    dropout = dropped(hidden, probability(config, "dropout"))
    spoken = tower_layer(config, "decoder", WHISPER_LINE, fixed(frames))
    parts: Children = (
        *audio_tower(config),
        Block("embedding", (table, places, *dropout)),
        layer(*spoken, repeat=config.layers("decoder_layers")),
        *tower_ends(config, WHISPER_LINE, "decoder"),
    )
    tops: dict[str, Children] = {
        "ForConditionalGeneration": (head(hidden, rows, tied, name="proj_out"),),
        "Model": (),
    }
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "ForConditionalGeneration")))
    limit = config.integer("max_target_positions")
    return replace(network, causal=True, sequence_limit=limit)


FAMILIES = {"whisper": whisper}
