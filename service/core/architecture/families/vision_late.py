"""More transformers over patches.

vivit (Arnab et al. 2021, arXiv 2103.15691), vit_mae (2111.06377), vit_msn (2204.07141),
dinov2_with_registers (2309.16588), dinov3_vit (2508.10104), segformer (2105.15203), pvt
(2102.12122). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import encoder, norm, on_top
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    fused_gated_mlp,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.pictures import Grid, image_network, residual, sizes, stages
from service.core.architecture.families.resnet import IMAGE_SIZE
from service.core.architecture.families.trunk import head_width, labels, probability, read
from service.core.architecture.families.vision_transformer import (
    DINOV2,
    VIT,
    patch_projection,
    patches,
    vision_layer,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import Stream, fixed

NORMS = ("layernorm_before", "layernorm_after")
VIVIT = VIT | {"hidden_act": "gelu_fast", "num_frames": 32, "tubelet_size": [2, 16, 16]}
VIT_MAE = VIT | {
    "decoder_num_attention_heads": 16,
    "decoder_hidden_size": 512,
    "decoder_num_hidden_layers": 8,
    "decoder_intermediate_size": 2048,
}
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
SEGFORMER = {
    "num_channels": 3,
    "depths": [2, 2, 2, 2],
    "sr_ratios": [8, 4, 2, 1],
    "hidden_sizes": [32, 64, 160, 256],
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "num_attention_heads": [1, 2, 5, 8],
    "mlp_ratios": [4, 4, 4, 4],
    "hidden_act": "gelu",
}
PVT = {
    "image_size": 224,
    "num_channels": 3,
    "depths": [2, 2, 2, 2],
    "sequence_reduction_ratios": [8, 4, 2, 1],
    "hidden_sizes": [64, 128, 320, 512],
    "patch_sizes": [4, 2, 2, 2],
    "num_attention_heads": [1, 2, 5, 8],
    "mlp_ratios": [8, 8, 4, 4],
    "hidden_act": "gelu",
    "qkv_bias": True,
    "num_labels": 1000,
}


def _placed(parts: Children, stream: Stream) -> Children:
    return tuple(replace(b, stream=stream) if isinstance(b, Block) else b for b in parts)


def _finished(
    config: Config, parts: Children, tops: Mapping[str, Children], default: str
) -> Network:
    top = on_top(config, tops, default)
    return encoder(config, config.integer("hidden_size"), (*parts, *top), tokens=False)


def _classifier(config: Config) -> Block:
    dense = Linear("classifier", config.integer("hidden_size"), labels(config), True)
    return Block("head", (dense,), stream=fixed(1))


def _vit_layers(config: Config) -> Block:
    children = vision_layer(config, NORMS, bias=config.flag("qkv_bias"))
    return layer(*children, repeat=config.layers("num_hidden_layers"))


def _body(config: Config, projection: Operator, count: int) -> Children:
    """A class token, learned positions, layers and a norm."""
    hidden = config.integer("hidden_size")
    free = (
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("position_embeddings", (1, count + 1, hidden)),
    )
    seen = Block("patches", (projection,), stream=fixed(count))
    parts = (
        Block("embedding", (seen, *free)),
        _vit_layers(config),
        Block("norm", (norm("layernorm", hidden),)),
    )
    return _placed(parts, fixed(count + 1))


def vivit(config: Config) -> Network:
    """VivitForVideoClassification: a ViT over tubes of pixels."""
    config = read(config, VIVIT)
    hidden, image = config.integer("hidden_size"), sizes(config, "image_size")
    tube = config.sequence("tubelet_size", 3)
    if len(tube) != 3:
        raise ConfigError(config.where("tubelet_size"), "tubelet_size must hold three sizes")
    named = Config({str(i): n for i, n in enumerate(tube)}, path=config.where("tubelet_size"))
    time, down, across = (named.integer(str(i)) for i in range(3))
    count = (config.integer("num_frames") // time) * (image[0] // down) * (image[1] // across)
    if not count:
        raise ConfigError(config.where("tubelet_size"), "tubelet_size is larger than the video")
    projection = Convolution(
        "projection", config.integer("num_channels"), hidden, (time, down, across),
        input_positions=float(time * down * across),
    )  # fmt: skip
    pooled = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "ForVideoClassification": (_classifier(config),),
        "Model": (Block("pooler", (pooled, Activation("tanh", hidden, "tanh")), stream=fixed(1)),),
    }
    return _finished(config, _body(config, projection, count), tops, "ForVideoClassification")


def vit_mae(config: Config) -> Network:
    """ViTMAEForPreTraining: a small decoder paints what the encoder did not see."""
    config = read(config, VIT_MAE)
    hidden, count = config.integer("hidden_size"), patches(config)
    narrow = config.integer("decoder_hidden_size")
    names = ("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers")
    given = {name: config.integer(f"decoder_{name}", 0) for name in names}
    inner = Config({**config.data, **given}, config.defaults, config.path)
    patch = sizes(config, "patch_size")
    pixels = patch[0] * patch[1] * config.integer("num_channels")
    decoder: Children = (
        Block(
            "projector",
            (
                Linear("decoder_embed", hidden, narrow, True),
                Parameter("mask_token", (1, 1, narrow)),
                Parameter("decoder_pos_embed", (1, count + 1, narrow)),
            ),
        ),
        _vit_layers(inner),
        Block("head", (norm("decoder_norm", narrow), Linear("decoder_pred", narrow, pixels, True))),
    )
    tops: Mapping[str, Children] = {
        "ForPreTraining": _placed(decoder, fixed(count + 1)),
        "Model": (),
    }
    body = _body(config, patch_projection(config, hidden), count)
    return _finished(config, body, tops, "ForPreTraining")


def vit_msn(config: Config) -> Network:
    """ViTMSNModel, ViTMSNForImageClassification."""
    config = read(config, VIT)
    body = _body(config, patch_projection(config, config.integer("hidden_size")), patches(config))
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForImageClassification": (_classifier(config),),
    }
    return _finished(config, body, tops, "Model")


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
    return _finished(config, _placed(parts, fixed(count + 1 + registers)), tops, "Model")


def dinov3_vit(config: Config) -> Network:
    """DINOv3ViTModel: rotary positions, registers, scales."""
    config = read(config, DINOV3)
    hidden, count = config.integer("hidden_size"), patches(config)
    heads, registers = (
        config.integer("num_attention_heads"),
        config.integer("num_register_tokens", 0),
    )
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
    inner, act, bias = (
        config.integer("intermediate_size"),
        config.text("hidden_act"),
        config.flag("mlp_bias"),
    )
    mlp = plain_mlp(hidden, inner, act, bias)
    if config.flag("use_gated_mlp"):
        mlp = gated_mlp(hidden, inner, act, bias)
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
            norm("norm1", hidden), replace(block, children=children), scales[0],
            norm("norm2", hidden), mlp, scales[1],
            repeat=config.layers("num_hidden_layers"),
        ),
        Block("norm", (norm("norm", hidden),)),
    )  # fmt: skip
    stream = fixed(count + 1 + registers)
    return _finished(config, _placed(parts, stream), {"Model": ()}, "Model")


def _reduced(
    config: Config, grid: Grid, heads: int, ratio: int, bias: bool
) -> tuple[Block, AttentionShape]:
    """Attention whose keys and values come from a coarser grid."""
    width = grid.channels
    count = max(1.0, grid.height * grid.width / ratio**2)
    shape = AttentionShape(
        width,
        heads,
        heads,
        head_width(config, width, heads),
        bias=bias,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(count),
        key_inputs=width,
        dropout=probability(config, "attention_probs_dropout_prob"),
        residual_dropout=probability(config, "hidden_dropout_prob"),
    )
    block = attention(shape)
    if ratio > 1:
        shrink = Convolution(
            "sequence_reduction", width, width, (ratio, ratio), input_positions=float(ratio**2)
        )
        coarse = Block("reduction", (shrink, norm("layer_norm", width)), stream=fixed(count))
        block = replace(block, children=(coarse, *block.children))
    return block, shape


def segformer(config: Config) -> Network:
    """SegformerForImageClassification, SegformerModel: a pyramid without positions."""
    config = read(config, SEGFORMER)
    grid = Grid(IMAGE_SIZE, IMAGE_SIZE, config.integer("num_channels"))
    names = ("hidden_sizes", "depths", "sr_ratios", "patch_sizes", "strides")
    parts: list[Block] = []
    for width, depth, ratio, patch, stride, heads, wide in stages(
        config, *names, "num_attention_heads", "mlp_ratios"
    ):
        shrunk = grid.shrink(stride)
        projection = Convolution(
            "proj", grid.channels, width, (patch, patch), input_positions=shrunk
        )
        grid.channels = width
        parts.append(
            Block("embedding", (projection, norm("layer_norm", width)), stream=grid.stream())
        )
        own, _ = _reduced(config, grid, heads, ratio, True)
        inner = width * wide
        mlp = Block(
            "mlp",
            (
                Linear("fc1", width, inner, True),
                Convolution("dwconv", inner, inner, (3, 3), inner),
                Activation("act", inner, config.text("hidden_act")),
                Linear("fc2", inner, width, True),
            ),
        )
        before, after = norm("layernorm_before", width), norm("layernorm_after", width)
        parts.append(residual(grid, (before, own, after, mlp), depth))
        parts.append(Block("norm", (norm("layer_norm", width),), stream=grid.stream()))
    return image_network(config, grid, tuple(parts))


def pvt(config: Config) -> Network:
    """PvtForImageClassification: a pyramid with positions and a class token at its end."""
    config = read(config, PVT)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    names = ("hidden_sizes", "depths", "sequence_reduction_ratios", "patch_sizes")
    steps = stages(config, *names, "num_attention_heads", "mlp_ratios")
    parts: list[Block] = []
    for index, (width, depth, ratio, patch, heads, wide) in enumerate(steps):
        shrunk = grid.shrink(patch, upwards=False)
        projection = Convolution(
            "projection", grid.channels, width, (patch, patch), input_positions=shrunk
        )
        grid.channels = width
        last = index + 1 == len(steps)
        seen = grid.height * grid.width + last
        free = [Parameter("position_embeddings", (1, seen, width))]
        if last:
            free.append(Parameter("cls_token", (1, 1, width)))
        parts.append(
            Block("embedding", (projection, norm("layer_norm", width), *free), stream=grid.stream())
        )
        own, _ = _reduced(config, grid, heads, ratio, config.flag("qkv_bias"))
        act = config.text("hidden_act")
        mlp = plain_mlp(width, width * wide, act, names=("dense1", "dense2"))
        before, after = norm("layer_norm_1", width), norm("layer_norm_2", width)
        parts.append(residual(grid, (before, own, after, mlp), depth))
    parts.append(Block("norm", (norm("layer_norm", grid.channels),), stream=grid.stream()))
    return image_network(config, grid, tuple(parts))


FAMILIES = {
    "dinov2_with_registers": dinov2_with_registers,
    "dinov3_vit": dinov3_vit,
    "pvt": pvt,
    "segformer": segformer,
    "vit_mae": vit_mae,
    "vit_msn": vit_msn,
    "vivit": vivit,
}
