"""MobileViT: transformers over patches between inverted residual convolutions.

mobilevit (Mehta & Rastegari 2021, arXiv 2110.02178), mobilevitv2 (2206.02680).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, attention, plain_mlp
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import (
    Grid,
    image_network,
    merged,
    residual,
    sizes,
    stages,
    whole_numbers,
)
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.families.vision_convolution import divisible, inverted
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

MOBILEVIT = {
    "num_channels": 3,
    "image_size": 256,
    "patch_size": 2,
    "hidden_sizes": [144, 192, 240],
    "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 640],
    "num_attention_heads": 4,
    "mlp_ratio": 2.0,
    "expand_ratio": 4.0,
    "hidden_act": "silu",
    "conv_kernel_size": 3,
    "output_stride": 32,
    "qkv_bias": True,
}

MOBILEVITV2 = {
    "num_channels": 3,
    "image_size": 256,
    "patch_size": 2,
    "expand_ratio": 2.0,
    "hidden_act": "swish",
    "conv_kernel_size": 3,
    "output_stride": 32,
    "n_attn_blocks": [2, 4, 3],
    "base_attn_unit_dims": [128, 192, 256],
    "width_multiplier": 1.0,
    "ffn_multiplier": 2,
}

_V1_LAYERS = (2, 4, 3)


def _strides(config: Config) -> tuple[int, int, int]:
    """The strides of the last three stages; dilation keeps the size of the last ones."""
    stride = config.integer("output_stride")
    return 2, 1 if stride == 8 else 2, 1 if stride in (8, 16) else 2


def _narrowed(config: Config, grid: Grid, outputs: int, stride: int) -> Block:
    wide = round(grid.channels * config.number("expand_ratio", 1e-6, 1e3))
    return inverted(grid, divisible(wide), outputs, stride, config.text("hidden_act"))


def _mobilevit_block(config: Config, grid: Grid, hidden: int, count: int) -> list[Block]:
    """Convolutions, attention among the positions of a patch's place, and both fused."""
    act, kernel, width = (
        config.text("hidden_act"),
        config.integer("conv_kernel_size"),
        grid.channels,
    )
    heads, patch = config.integer("num_attention_heads"), config.integer("patch_size")
    dropout = probability(config, "hidden_dropout_prob")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=config.flag("qkv_bias"),
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(max(1.0, grid.height * grid.width / patch**2)),
        dropout=probability(config, "attention_probs_dropout_prob"),
        residual_dropout=dropout,
        names=("query", "key", "value", "dense"),
    )
    own = attention(shape)
    flat = tuple(
        inner
        for child in own.children
        for inner in (child.children if isinstance(child, Block) else (child,))
    )
    inner = int(hidden * config.number("mlp_ratio", 0.0, 1e3))
    mlp = plain_mlp(hidden, inner, act, names=("intermediate", "output"), dropout=dropout)
    children = (
        norm("layernorm_before", hidden),
        replace(own, children=flat),
        norm("layernorm_after", hidden),
        mlp,
    )
    spread = grid.convolve("conv_kxk", width, kernel, act=act)
    lifted = grid.convolve("conv_1x1", hidden, 1, normed=False)
    layers = residual(grid, children, count)
    last = Block("norm", (norm("layernorm", hidden),), stream=grid.stream())
    lowered = grid.convolve("conv_projection", width, 1, act=act)
    grid.channels = 2 * width
    fused = grid.convolve("fusion", width, kernel, act=act)
    return [spread, lifted, layers, last, lowered, fused]


def mobilevit(config: Config) -> Network:
    """MobileViTForImageClassification."""
    config = read(config, MOBILEVIT)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    necks, hidden = (
        whole_numbers(config, "neck_hidden_sizes"),
        whole_numbers(config, "hidden_sizes"),
    )
    if len(necks) != 7 or len(hidden) != 3:
        raise refuse(config, "neck_hidden_sizes", "seven sizes, and three hidden_sizes")
    act = config.text("hidden_act")
    parts = [grid.convolve("conv_stem", necks[0], 3, 2, act=act)]
    parts.append(_narrowed(config, grid, necks[1], 1))
    parts += [_narrowed(config, grid, necks[2], 1 if index else 2) for index in range(3)]
    for index, stride in enumerate(_strides(config)):
        parts.append(_narrowed(config, grid, necks[3 + index], stride))
        parts += _mobilevit_block(config, grid, hidden[index], _V1_LAYERS[index])
    parts.append(grid.convolve("conv_1x1_exp", necks[6], 1, act=act))
    return image_network(config, grid, tuple(merged(parts)))


def _separable(config: Config, grid: Grid, hidden: int, count: int) -> list[Block]:
    """MobileViT V2's block: attention whose cost grows with the positions, not their square."""
    act, kernel, width = (
        config.text("hidden_act"),
        config.integer("conv_kernel_size"),
        grid.channels,
    )
    inner = hidden * config.integer("ffn_multiplier") // 16 * 16
    own = Block(
        "attention",
        (
            Linear("qkv_proj", hidden, 1 + 2 * hidden, True),
            Linear("out_proj", hidden, hidden, True),
        ),
    )
    mlp = plain_mlp(hidden, inner, act, names=("conv1", "conv2"))
    children = (
        Norm("layernorm_before", hidden, "group", bias=True),
        own,
        Norm("layernorm_after", hidden, "group", bias=True),
        mlp,
    )
    spread = grid.convolve("conv_kxk", width, kernel, groups=width, act=act)
    lifted = grid.convolve("conv_1x1", hidden, 1, normed=False)
    layers = residual(grid, children, count)
    last = Block("norm", (Norm("layernorm", hidden, "group", bias=True),), stream=grid.stream())
    lowered = grid.convolve("conv_projection", width, 1)
    return [spread, lifted, layers, last, lowered]


def mobilevitv2(config: Config) -> Network:
    """MobileViTV2ForImageClassification."""
    config = read(config, MOBILEVITV2)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    times, act = config.number("width_multiplier", 1e-6, 1e3), config.text("hidden_act")
    attended = stages(config, "n_attn_blocks", "base_attn_unit_dims")
    if len(attended) != 3:
        raise refuse(config, "n_attn_blocks", "three stages")
    stem = divisible(max(16.0, min(64.0, 32 * times)), 8, 16)
    parts = [grid.convolve("conv_stem", stem, 3, 2, act=act)]
    parts.append(_narrowed(config, grid, divisible(64 * times, 16), 1))
    parts += [_narrowed(config, grid, divisible(128 * times), 1 if i else 2) for i in range(2)]
    ends = zip(_strides(config), (256, 384, 512), attended, strict=True)
    for stride, width, (count, base) in ends:
        parts.append(_narrowed(config, grid, divisible(width * times), stride))
        parts += _separable(config, grid, divisible(base * times), count)
    return image_network(config, grid, tuple(merged(parts)))


FAMILIES = {
    "mobilevit": mobilevit,
    "mobilevitv2": mobilevitv2,
}
