"""Gemma 4 with its image tower.

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, attention, gated_mlp, layer
from service.core.architecture.families.multimodal import decoder, joined, part
from service.core.architecture.families.trunk import probability, read, refuse, ties
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

GEMMA4_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "hidden_activation": "gelu_pytorch_tanh",
    "pooling_kernel_size": 3,
    "patch_size": 16,
    "position_embedding_size": 10240,
}


def gemma4(config: Config) -> Network:
    """Gemma4ForConditionalGeneration, with or without its image tower."""
    if config.get("audio_config") is not None:
        raise refuse(config, "audio_config", "null")
    given = part(config, "text_config", {"model_type": "gemma4_text"})
    tied = ties(config)
    text = decoder(config, given | {"model_type": "gemma4_text"}, tied, "text_config")
    if config.get("vision_config") is None:
        return joined(config, (), text)
    vision = read(config.section("vision_config"), GEMMA4_VISION)
    tokens = Config(config.data, {"vision_soft_tokens_per_image": 280}).integer(
        "vision_soft_tokens_per_image"
    )
    pooled = vision.integer("pooling_kernel_size") ** 2
    blocks = tuple(replace(b, stream=fixed(tokens * pooled)) for b in _gemma4_tower(vision))
    projection = Linear("embedding_projection", vision.integer("hidden_size"), text.hidden_size)
    projector = Block("projector", (projection,), stream=fixed(tokens))
    return joined(config, (*blocks, projector), text)


def _gemma4_tower(config: Config) -> tuple[Block, ...]:
    hidden, patch = config.integer("hidden_size"), config.integer("patch_size")
    bias = config.flag("attention_bias")
    shape = AttentionShape(
        hidden,
        config.integer("num_attention_heads"),
        config.integer("num_key_value_heads"),
        config.integer("head_dim"),
        bias=False,
        causal=False,
        head_norm=Norm("norm", 0),
        dropout=probability(config, "attention_dropout"),
    )
    if bias:
        raise refuse(config, "attention_bias", "false")
    inner = config.integer("intermediate_size")
    mlp = gated_mlp(hidden, inner, config.text("hidden_activation"))
    norms = tuple(
        Norm(name, hidden)
        for name in (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        )
    )
    places = config.rows("position_embedding_size")
    embedding = Block(
        "vision_embedding",
        (
            Linear("input_proj", 3 * patch * patch, hidden),
            Parameter("position_embedding_table", (2, places, hidden)),
        ),
    )
    layers = layer(
        norms[0], attention(shape), norms[1], norms[2], mlp, norms[3],
        repeat=config.layers("num_hidden_layers"),
    )  # fmt: skip
    return embedding, layers


FAMILIES = {
    "gemma4": gemma4,
}
