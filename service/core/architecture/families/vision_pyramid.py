"""Transformers over ever coarser grids, whose keys and values come from a coarser one still.

segformer (Xie et al. 2021, arXiv 2105.15203), pvt (2102.12122).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, attention, plain_mlp
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import Grid, image_network, residual, sizes, stages
from service.core.architecture.families.resnet import IMAGE_SIZE
from service.core.architecture.families.trunk import head_width, probability, read
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

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
    "pvt": pvt,
    "segformer": segformer,
}
