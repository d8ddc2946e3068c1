"""Image towers that vision-language models are built on, by the `model_type` of `vision_config`.

A tower is its blocks, each on its own positions, with what comes out: positions and their width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.core.architecture.families.clip import (
    CLIP_VISION,
    SIGLIP2_VISION,
    SIGLIP_VISION,
    clip_vision,
    siglip2_vision,
    siglip_vision,
)
from service.core.architecture.families.config import Config, UnknownArchitecture
from service.core.architecture.families.decoder import (
    AttentionShape,
    attention,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.families.vision_transformer import patch_projection, patches
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

PIXTRAL = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 1024,
    "patch_size": 16,
    "hidden_act": "gelu",
}
INTERNVL = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "attention_bias": False,
    "use_qk_norm": False,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "norm_type": "layer_norm",
    "image_size": [448, 448],
    "patch_size": [14, 14],
    "num_channels": 3,
    "use_absolute_position_embeddings": True,
}
IDEFICS = SIGLIP_VISION | {"patch_size": 32, "vision_use_head": False}
IDEFICS3 = IDEFICS | {"hidden_size": 1152, "num_attention_heads": 16}


@dataclass(frozen=True)
class Tower:
    """An image tower: its blocks, how many vectors it gives for one image, and their width."""

    blocks: tuple[Block, ...]
    positions: int
    width: int


def _clip(config: Config) -> Tower:
    config = read(config, CLIP_VISION)
    return Tower(clip_vision(config), patches(config), config.integer("hidden_size"))


def _siglip(config: Config, defaults: Mapping[str, Any] = SIGLIP_VISION) -> Tower:
    config = read(config, defaults)
    return Tower(siglip_vision(config), patches(config), config.integer("hidden_size"))


def _siglip2(config: Config) -> Tower:
    config = read(config, SIGLIP2_VISION)
    count, width = config.integer("num_patches"), config.integer("hidden_size")
    return Tower(siglip2_vision(config), count, width)


def _idefics(defaults: Mapping[str, Any]) -> Callable[[Config], Tower]:
    def build(config: Config) -> Tower:
        headless = Config({**config.data, "vision_use_head": False}, path=config.path)
        return _siglip(headless, defaults)

    return build


def _pixtral(config: Config) -> Tower:
    config = read(config, PIXTRAL)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    width, count = head_width(config, hidden, heads), patches(config)
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        width,
        causal=False,
        dropout=probability(config, "attention_dropout"),
    )
    inner = config.integer("intermediate_size")
    mlp = gated_mlp(hidden, inner, config.text("hidden_act"), name="feed_forward")
    blocks = (
        Block(
            "vision_embedding",
            (patch_projection(config, hidden, False, "patch_conv"), Norm("ln_pre", hidden)),
        ),
        layer(
            Norm("attention_norm", hidden),
            attention(shape),
            Norm("ffn_norm", hidden),
            mlp,
            repeat=config.layers("num_hidden_layers"),
        ),
    )
    return Tower(tuple(replace(b, stream=fixed(count)) for b in blocks), count, hidden)


def _internvl(config: Config) -> Tower:
    config = read(config, INTERNVL)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    count, bias = patches(config), config.flag("attention_bias")
    if config.text("norm_type") not in ("layer_norm", "rms_norm"):
        raise refuse(config, "norm_type", "layer_norm, rms_norm")
    is_rms = config.text("norm_type") == "rms_norm"
    before, after = (
        Norm(name, hidden) if is_rms else norm(name, hidden)
        for name in ("layernorm_before", "layernorm_after")
    )
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=bias,
        output_bias=True,
        rotary=False,
        causal=False,
        head_norm=Norm("norm", 0) if config.flag("use_qk_norm") else None,
        whole_norm=True,
        dropout=probability(config, "attention_dropout"),
        names=("q_proj", "k_proj", "v_proj", "projection_layer"),
    )
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    scales = tuple(Parameter(f"lambda_{i}", (hidden,)) for i in (1, 2))
    free = [Parameter("cls_token", (1, 1, hidden))]
    if config.flag("use_mask_token"):
        free.append(Parameter("mask_token", (1, 1, hidden)))
    if config.flag("use_absolute_position_embeddings"):
        free.append(Parameter("position_embeddings", (1, count + 1, hidden)))
    projection = Block("patches", (patch_projection(config, hidden),), stream=fixed(count))
    last = () if config.get("use_mean_pooling") in (None, True) else (norm("layernorm", hidden),)
    blocks = (
        Block("vision_embedding", (projection, *free)),
        layer(
            before,
            attention(shape),
            scales[0],
            after,
            mlp,
            scales[1],
            repeat=config.layers("num_hidden_layers"),
        ),
        *((Block("vision_norm", last),) if last else ()),
    )
    return Tower(tuple(replace(b, stream=fixed(count + 1)) for b in blocks), count, hidden)


TOWERS: Mapping[str, Callable[[Config], Tower]] = {
    "clip_vision_model": _clip,
    "idefics2_vision": _idefics(IDEFICS),
    "idefics2": _idefics(IDEFICS),
    "idefics3_vision": _idefics(IDEFICS3),
    "internvl_vision": _internvl,
    "pixtral": _pixtral,
    "siglip2_vision_model": _siglip2,
    "siglip_vision_model": _siglip,
    "smolvlm_vision": _idefics(IDEFICS3),
}


def tower(config: Config, kind: str) -> Tower:
    """The tower that a `vision_config` describes; `kind` where it names no `model_type`."""
    named = config.text("model_type", kind)
    if named not in TOWERS:
        known = ", ".join(sorted(TOWERS))
        raise UnknownArchitecture(
            config.where("model_type"), f"vision tower {named[:80]!r} is not one of {known}"
        )
    return TOWERS[named](config)


def pixtral(config: Config) -> Network:
    """PixtralVisionModel."""
    made = _pixtral(config)
    on_top(config, {"VisionModel": ()}, "VisionModel")
    return encoder(config, made.width, made.blocks, tokens=False)


FAMILIES = {"pixtral": pixtral}
