"""Contrastive pairs of an image tower and a text tower.

clip (Radford et al. 2021, arXiv 2103.00020), siglip (2303.15343) and siglip2 (2502.14786); their
towers also stand alone and in vision-language models. A sample is one image and one text. Defaults
are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention, layer, plain_mlp
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.trunk import read, unmasked
from service.core.architecture.families.vision_transformer import (
    patch_projection,
    patches,
    vision_layer,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Operator, Parameter, Split
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

CLIP_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "attention_dropout": 0.0,
}
CLIP_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "attention_dropout": 0.0,
}
SIGLIP_TEXT = CLIP_TEXT | {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
}
SIGLIP_VISION = CLIP_VISION | {
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "vision_use_head": True,
}
SIGLIP2_VISION = SIGLIP_VISION | {"num_patches": 256}


def clip_vision(config: Config) -> tuple[Block, ...]:
    """CLIP's image tower, a norm before its first layer and after its last."""
    hidden, count = config.integer("hidden_size"), patches(config)
    embedding = Block(
        "vision_embedding",
        (
            Block(
                "patches",
                (patch_projection(config, hidden, False, "patch_embedding"),),
                stream=fixed(count),
            ),
            Parameter("class_embedding", (hidden,)),
            Embedding("position_embedding", count + 1, hidden),
            norm("pre_layrnorm", hidden),
        ),
    )
    layers = layer(
        *vision_layer(config, ("layer_norm1", "layer_norm2")),
        repeat=config.layers("num_hidden_layers"),
    )
    last = Block("vision_norm", (norm("post_layernorm", hidden),))
    return tuple(replace(part, stream=fixed(count + 1)) for part in (embedding, layers, last))


def clip_text(config: Config) -> tuple[Block, ...]:
    """CLIP's text tower."""
    hidden = config.integer("hidden_size")
    tables: tuple[Operator, ...] = (
        Embedding("token_embedding", config.rows("vocab_size"), hidden, Split.TENSOR, input=True),
        Embedding("position_embedding", config.rows("max_position_embeddings"), hidden),
    )
    layers = layer(
        *vision_layer(config, ("layer_norm1", "layer_norm2"), causal=True),
        repeat=config.layers("num_hidden_layers"),
    )
    last = Block("text_norm", (norm("final_layer_norm", hidden),))
    return Block("embedding", tables), layers, last


def clip(config: Config) -> Network:
    """CLIPModel: both towers, the image's first; a projection each and a temperature."""
    text, vision = (
        config.section("text_config", CLIP_TEXT),
        config.section("vision_config", CLIP_VISION),
    )
    width = Config(config.data, {"projection_dim": 512}).integer("projection_dim")
    hidden = text.integer("hidden_size")
    top = (
        Linear("visual_projection", vision.integer("hidden_size"), width),
        Linear("text_projection", hidden, width),
        Parameter("logit_scale", (1,)),
    )
    parts = (*clip_vision(vision), *clip_text(text), Block("head", top, stream=fixed(1)))
    on_top(config, {"CLIPModel": ()}, "CLIPModel")
    network = encoder(config, hidden, parts)
    return replace(network, sequence_limit=text.integer("max_position_embeddings"))


def clip_text_model(config: Config) -> Network:
    """CLIPTextModel."""
    config = read(config, CLIP_TEXT)
    return encoder(config, config.integer("hidden_size"), clip_text(config))


def clip_vision_model(config: Config) -> Network:
    """CLIPVisionModel."""
    config = read(config, CLIP_VISION)
    hidden = config.integer("hidden_size")
    on_top(config, {"VisionModel": ()}, "VisionModel")
    return encoder(config, hidden, clip_vision(config), tokens=False)


def siglip_vision(config: Config) -> tuple[Block, ...]:
    """SigLIP's image tower, with its pooling by attention where the config asks for it."""
    projection = patch_projection(config, config.integer("hidden_size"), True, "patch_embedding")
    return _siglip_tower(config, projection, patches(config))


def siglip2_vision(config: Config) -> tuple[Block, ...]:
    """SigLIP 2's image tower: patches come flattened, in any aspect ratio."""
    inputs = config.integer("num_channels") * config.integer("patch_size") ** 2
    projection = Linear("patch_embedding", inputs, config.integer("hidden_size"), True)
    return _siglip_tower(config, projection, config.integer("num_patches"))


def _siglip_tower(config: Config, projection: Operator, count: int) -> tuple[Block, ...]:
    hidden = config.integer("hidden_size")
    table = Embedding("position_embedding", count, hidden)
    embedding = Block("vision_embedding", (projection, table))
    layers = layer(
        *vision_layer(config, ("layer_norm1", "layer_norm2")),
        repeat=config.layers("num_hidden_layers"),
    )
    last = Block("vision_norm", (norm("post_layernorm", hidden),))
    tower = tuple(replace(part, stream=fixed(count)) for part in (embedding, layers, last))
    if not config.flag("vision_use_head"):
        return tower
    return (*tower, _attention_pool(config, hidden, count))


def siglip_vision_model(config: Config) -> Network:
    """SiglipVisionModel."""
    config = read(config, SIGLIP_VISION)
    on_top(config, {"VisionModel": ()}, "VisionModel")
    return encoder(config, config.integer("hidden_size"), siglip_vision(config), tokens=False)


def siglip(config: Config) -> Network:
    """SiglipModel: both towers, the image's pooled by attention to a learned probe."""
    vision = config.section("vision_config", SIGLIP_VISION)
    return _siglip(config, siglip_vision(vision), "SiglipModel")


def siglip2(config: Config) -> Network:
    """Siglip2Model."""
    vision = config.section("vision_config", SIGLIP2_VISION)
    return _siglip(config, siglip2_vision(vision), "Siglip2Model")


def _siglip(config: Config, towers: Children, name: str) -> Network:
    text = config.section("text_config", SIGLIP_TEXT)
    hidden = text.integer("hidden_size")
    words = clip_text(text)
    bidirectional = vision_layer(text, ("layer_norm1", "layer_norm2"))
    words = (words[0], replace(words[1], children=bidirectional), words[2])
    projection = text.optional("projection_size", 1) or hidden
    top: tuple[Operator, ...] = (
        Linear("head", hidden, projection, True),
        Parameter("logit_scale", (1,)),
        Parameter("logit_bias", (1,)),
    )
    parts = (*towers, *words, Block("head", top, stream=fixed(1)))
    on_top(config, {name: ()}, name)
    network = encoder(config, hidden, parts)
    return replace(network, sequence_limit=text.integer("max_position_embeddings"))


def _attention_pool(config: Config, hidden: int, count: int) -> Block:
    """One learned query attends to all patches."""
    heads = config.integer("num_attention_heads")
    shape = unmasked(
        config,
        hidden,
        heads,
        keys=fixed(count),
        key_inputs=hidden,
    )
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    probe = Parameter("probe", (1, 1, hidden))
    parts = (probe, attention(shape), norm("layernorm", hidden), mlp)
    return Block("vision_head", parts, stream=fixed(1))


FAMILIES = {
    "clip": clip,
    "clip_text_model": clip_text_model,
    "clip_vision_model": clip_vision_model,
    "siglip": siglip,
    "siglip2": siglip2,
    "siglip_vision_model": siglip_vision_model,
}
