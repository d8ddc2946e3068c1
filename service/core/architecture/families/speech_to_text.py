"""Speech2Text: strided convolutions over sound, then BART's towers (Wang et al. 2020, 2010.05171).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import (
    BART,
    PRE_NORM,
    conditional,
    tower_layer,
    tower_norm,
)
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import dropped, layer
from service.core.architecture.families.pictures import whole_numbers
from service.core.architecture.families.trunk import probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Embedding, Split
from service.core.architecture.polynomial import Stream, fixed
from service.core.architecture.tree import Block

SPEECH = BART | {
    "vocab_size": 10000,
    "encoder_ffn_dim": 2048,
    "encoder_attention_heads": 4,
    "decoder_layers": 6,
    "decoder_ffn_dim": 2048,
    "decoder_attention_heads": 4,
    "activation_function": "relu",
    "d_model": 256,
    "max_source_positions": 6000,
    "max_target_positions": 1024,
    "num_conv_layers": 2,
    "conv_kernel_sizes": [5, 5],
    "conv_channels": 1024,
    "input_feat_per_channel": 80,
    "input_channels": 1,
}


def speech_to_text(config: Config) -> Network:
    """Speech2TextForConditionalGeneration: strided convolutions, then BART's towers."""
    config = read(config, SPEECH)
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    kernels = whole_numbers(config, "conv_kernel_sizes")
    middle = config.integer("conv_channels")
    if len(kernels) != config.integer("num_conv_layers") or middle % 2:
        raise refuse(config, "conv_kernel_sizes", "one size for each of num_conv_layers")
    frames = config.integer("max_source_positions")
    inputs = config.integer("input_feat_per_channel") * config.integer("input_channels")
    blocks: list[Block] = []
    for index, kernel in enumerate(kernels):
        frames = max(1, -(-frames // 2))
        outputs = middle if index + 1 < len(kernels) else 2 * hidden
        convolution = Convolution("conv", inputs, outputs, (kernel,), input_positions=2.0)
        act = Activation("glu", outputs // 2, "glu", gated=True)
        blocks.append(Block("audio_embedding", (convolution, act), stream=fixed(frames)))
        inputs = outputs // 2
    stream: Stream = fixed(frames)
    listening = layer(
        *tower_layer(config, "encoder", PRE_NORM), repeat=config.layers("encoder_layers")
    )
    speaking = layer(
        *tower_layer(config, "decoder", PRE_NORM, stream), repeat=config.layers("decoder_layers")
    )
    table = Embedding("embed_tokens", rows, hidden, Split.TENSOR, input=True)
    parts = (
        *blocks,
        replace(listening, stream=stream),
        replace(tower_norm(config, "encoder_norm"), stream=stream),
        Block("embedding", (table, *dropped(hidden, probability(config, "dropout")))),
        speaking,
        tower_norm(config, "decoder_norm"),
    )
    return replace(
        conditional(config, parts), sequence_limit=config.integer("max_target_positions")
    )


FAMILIES = {
    "speech_to_text": speech_to_text,
}
