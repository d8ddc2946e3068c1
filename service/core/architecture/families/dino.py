"""The DINO line: vision transformers with scales after each half of a layer, later with registers.

dinov2 (Oquab et al. 2023, arXiv 2304.07193), dinov2_with_registers (2309.16588), dinov3_vit
(2508.10104). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    fused_gated_mlp,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.trunk import head_width, labels, probability, read
from service.core.architecture.families.vision_transformer import (
    NORMS,
    VIT,
    image_classes,
    image_model,
    patch_embeddings,
    patch_projection,
    patches,
    placed,
    vision_layer,
    vit_layer,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

DINOV2 = VIT | {"patch_size": 14, "mlp_ratio": 4, "use_swiglu_ffn": False, "use_mask_token": True}

REGISTERS = DINOV2 | {"patch_size": 16, "num_register_tokens": 4}

DINOV3 = {
    "patch_size": 16,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "hidden_act": "gelu",
    "image_size": 224,
    "num_channels": 3,
    "query_bias": True,
    "key_bias": False,
    "value_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "num_register_tokens": 0,
}


def dinov2(config: Config) -> Network:
    """Dinov2Model: scales after each half, optionally a gated feed-forward."""
    config = read(config, DINOV2)
    hidden = config.integer("hidden_size")
    inner = int(hidden * config.number("mlp_ratio", 0.0, 1e3))
    given = {**config.data, "intermediate_size": inner}
    block = vit_layer(Config(given, DINOV2, config.path))
    mlp = block[3]
    if config.flag("use_swiglu_ffn"):
        gated = (int(inner * 2 / 3) + 7) // 8 * 8
        mlp = fused_gated_mlp(hidden, gated, bias=True, names=("weights_in", "weights_out"))
    scales = tuple(Parameter(f"layer_scale{i}", (hidden,)) for i in (1, 2))
    layers = layer(
        *block[:2], scales[0], block[2], mlp, scales[1], repeat=config.layers("num_hidden_layers")
    )
    embedding, stream = patch_embeddings(config, 1, config.flag("use_mask_token"))
    tops: dict[str, Children] = {
        "Model": (),
        "ForImageClassification": (image_classes(config, width=2 * hidden),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return image_model(config, placed(parts, stream), tops, "Model")


def dinov2_with_registers(config: Config) -> Network:
    """Dinov2WithRegistersModel: DINOv2 with tokens that hold what patches should not."""
    config = read(config, REGISTERS)
    hidden, count = config.integer("hidden_size"), patches(config)
    registers = config.integer("num_register_tokens", 0)
    inner = int(hidden * config.number("mlp_ratio", 0.0, 1e3))
    sized = Config({**config.data, "intermediate_size": inner}, config.defaults, config.path)
    before, own, after, mlp = vision_layer(sized, NORMS, bias=config.flag("qkv_bias"))
    if config.flag("use_swiglu_ffn"):
        gated = (int(inner * 2 / 3) + 7) // 8 * 8
        mlp = fused_gated_mlp(hidden, gated, bias=True, names=("weights_in", "weights_out"))
    scales = tuple(Parameter(f"layer_scale{i}", (hidden,)) for i in (1, 2))
    free = (
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("mask_token", (1, hidden)),
        Parameter("register_tokens", (1, registers, hidden)),
        Parameter("position_embeddings", (1, count + 1, hidden)),
    )
    seen = Block("patches", (patch_projection(config, hidden),), stream=fixed(count))
    parts = (
        Block("embedding", (seen, *free)),
        layer(
            before, own, scales[0], after, mlp, scales[1],
            repeat=config.layers("num_hidden_layers"),
        ),
        Block("norm", (norm("layernorm", hidden),)),
    )  # fmt: skip
    double = Linear("classifier", 2 * hidden, labels(config), True)
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForImageClassification": (Block("head", (double,), stream=fixed(1)),),
    }
    return image_model(config, placed(parts, fixed(count + 1 + registers)), tops, "Model")


def _dinov3_attention(config: Config, hidden: int) -> Block:
    """Each of the three products has a bias or none, as the configuration says."""
    heads = config.integer("num_attention_heads")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        output_bias=config.flag("proj_bias"),
        causal=False,
        dropout=probability(config, "attention_dropout"),
    )
    biases = {f"{name[0]}_proj": config.flag(f"{name}_bias") for name in ("query", "key", "value")}
    block = attention(shape)
    children = tuple(
        replace(child, bias=biases[child.name])
        if isinstance(child, Linear) and child.name in biases
        else child
        for child in block.children
    )
    return replace(block, children=children)


def dinov3_vit(config: Config) -> Network:
    """DINOv3ViTModel: rotary positions, registers, scales."""
    config = read(config, DINOV3)
    hidden, count = config.integer("hidden_size"), patches(config)
    registers, inner = (
        config.integer("num_register_tokens", 0),
        config.integer("intermediate_size"),
    )
    make = gated_mlp if config.flag("use_gated_mlp") else plain_mlp
    mlp = make(hidden, inner, config.text("hidden_act"), config.flag("mlp_bias"))
    scales = tuple(Parameter(f"layer_scale{i}", (hidden,)) for i in (1, 2))
    free = (
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("mask_token", (1, 1, hidden)),
        Parameter("register_tokens", (1, registers, hidden)),
    )
    seen = Block("patches", (patch_projection(config, hidden),), stream=fixed(count))
    parts = (
        Block("embedding", (seen, *free)),
        layer(
            norm("norm1", hidden), _dinov3_attention(config, hidden), scales[0],
            norm("norm2", hidden), mlp, scales[1],
            repeat=config.layers("num_hidden_layers"),
        ),
        Block("norm", (norm("norm", hidden),)),
    )  # fmt: skip
    stream = fixed(count + 1 + registers)
    return image_model(config, placed(parts, stream), {"Model": ()}, "Model")


FAMILIES = {
    "dinov2": dinov2,
    "dinov2_with_registers": dinov2_with_registers,
    "dinov3_vit": dinov3_vit,
}
