"""BLIP: a decoder that attends to an image in each layer (Li et al. 2022, arXiv 2201.12086).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.clip import CLIP_VISION
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, attention, layer, plain_mlp
from service.core.architecture.families.encoder import (
    BERT,
    embeddings,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
)
from service.core.architecture.families.trunk import head_width, probability, read, ties, unmasked
from service.core.architecture.families.vision_transformer import patch_projection, patches
from service.core.architecture.network import Network
from service.core.architecture.operators import Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

BLIP_TEXT = BERT | {
    "vocab_size": 30524,
    "encoder_hidden_size": 768,
    "num_attention_heads": 8,
    "type_vocab_size": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}

BLIP_VISION = CLIP_VISION | {"image_size": 384, "patch_size": 16, "hidden_act": "gelu"}


def _blip_vision(config: Config) -> tuple[Block, ...]:
    hidden, count = config.integer("hidden_size"), patches(config)
    heads = config.integer("num_attention_heads")
    shape = unmasked(
        config,
        hidden,
        heads,
        fused="qkv",
        dropout=probability(config, "attention_dropout"),
        names=("", "", "", "projection"),
    )
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    projection = patch_projection(config, hidden, True, "patch_embedding")
    blocks = (
        Block(
            "vision_embedding",
            (
                Block("patches", (projection,), stream=fixed(count)),
                Parameter("class_embedding", (1, 1, hidden)),
                Parameter("position_embedding", (1, count + 1, hidden)),
            ),
        ),
        layer(
            norm("layer_norm1", hidden),
            attention(shape),
            norm("layer_norm2", hidden),
            mlp,
            repeat=config.layers("num_hidden_layers"),
        ),
        Block("vision_norm", (norm("post_layernorm", hidden),)),
    )
    return tuple(replace(block, stream=fixed(count + 1)) for block in blocks)


def blip(config: Config) -> Network:
    """BlipForConditionalGeneration: a decoder that attends to the image in each layer."""
    name = "BlipForConditionalGeneration"
    on_top(config, {name: ()}, name)
    vision = read(config.section("vision_config"), BLIP_VISION)
    section = config.section("text_config")
    # The class attends to its own image tower, whatever width the text's config names.
    own_fields = {"encoder_hidden_size": vision.integer("hidden_size"), "type_vocab_size": 0}
    given = {**section.data, **own_fields}
    text = Config(given, BLIP_TEXT, section.path)
    hidden, heads = text.integer("hidden_size"), text.integer("num_attention_heads")
    own, first, mlp, second = encoder_layer(text, hidden)
    seen = fixed(float(patches(vision) + 1))
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(text, hidden, heads),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=seen,
        key_inputs=text.integer("encoder_hidden_size"),
        names=("query", "key", "value", "dense"),
    )
    crossed = replace(attention(shape), name="cross_attention")
    layers = layer(
        own, first, crossed, norm("cross_attention_norm", hidden), mlp, second,
        repeat=text.layers("num_hidden_layers"),
    )  # fmt: skip
    rows = text.rows("vocab_size")
    tied = ties(config) or ties(text)
    top = masked_lm(hidden, hidden, rows, tied, text.text("hidden_act"))
    parts = (*_blip_vision(vision), embeddings(text, hidden), layers, top)
    network = encoder(config, hidden, parts)
    limit = text.integer("max_position_embeddings")
    return replace(network, causal=True, vocabulary=rows, sequence_limit=limit)


FAMILIES = {
    "blip": blip,
}
