"""Image networks in stages, each with fewer and wider positions.

swin (Liu et al. 2021, arXiv 2103.14030), swinv2 (2111.09883), convnext (2201.03545), convnextv2
(2301.00808), focalnet (2203.11926). A sample is one image of the configuration's size. Defaults
are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    plain_mlp,
)
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import (
    Grid,
    image_network,
    last_norm,
    residual,
    sizes,
    stages,
)
from service.core.architecture.families.trunk import agree, head_width, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Linear, Operator, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

SWIN = {
    "image_size": 224,
    "patch_size": 4,
    "num_channels": 3,
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "use_absolute_embeddings": False,
}
CONVNEXT = {
    "num_channels": 3,
    "patch_size": 4,
    "hidden_sizes": [96, 192, 384, 768],
    "depths": [3, 3, 9, 3],
    "hidden_act": "gelu",
    "layer_scale_init_value": 1e-6,
    "image_size": 224,
}
FOCALNET = {
    "image_size": 224,
    "patch_size": 4,
    "num_channels": 3,
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "focal_levels": [2, 2, 2, 2],
    "focal_windows": [3, 3, 3, 3],
    "hidden_act": "gelu",
    "mlp_ratio": 4.0,
}

MOST_LEVELS = 64


def _patches(config: Config, grid: Grid, name: str, extra: Children = ()) -> Block:
    """The convolution that makes a vector of each patch, and what follows it."""
    patch = sizes(config, "patch_size")
    width = config.integer("embed_dim")
    shrunk = grid.shrink(patch)
    convolution = Convolution(name, grid.channels, width, patch, input_positions=shrunk)
    grid.channels = width
    dropout = dropped(width, probability(config, "hidden_dropout_prob"))
    parts = (convolution, norm("norm", width), *extra, *dropout)
    return Block("embedding", parts, stream=grid.stream())


def _swin_layer(config: Config, grid: Grid, heads: int, second: bool) -> Children:
    width, window = grid.channels, config.integer("window_size")
    reach = min(window, grid.height, grid.width)
    padded = -(-grid.height // reach) * -(-grid.width // reach) * reach**2
    bias, dropout = config.flag("qkv_bias"), probability(config, "hidden_dropout_prob")
    shape = AttentionShape(
        width,
        heads,
        heads,
        head_width(config, width, heads, "num_heads"),
        bias=bias,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(float(reach**2)),
        dropout=probability(config, "attention_probs_dropout_prob"),
        residual_dropout=dropout,
        names=("query", "key", "value", "dense"),
    )
    own = _own_keys(attention(shape), _biases(heads, window, second))
    if second:
        own = replace(own, children=tuple(_unbiased(child) for child in own.children))
    block = replace(own, stream=fixed(float(padded)))
    inner = int(width * config.number("mlp_ratio", 0.0, 1e3))
    mlp = plain_mlp(width, inner, config.text("hidden_act"), names=("fc1", "fc2"), dropout=dropout)
    before, after = norm("layernorm_before", width), norm("layernorm_after", width)
    return (block, before, mlp, after) if second else (before, block, after, mlp)


def _biases(heads: int, window: int, second: bool) -> tuple[Operator, ...]:
    """A learned bias for each relative position, or the small network that makes it (v2)."""
    if not second:
        return (Parameter("relative_position_bias_table", ((2 * window - 1) ** 2, heads)),)
    return (
        Parameter("logit_scale", (heads, 1, 1)),
        Parameter("continuous_position_bias_mlp.0.weight", (512, 2)),
        Parameter("continuous_position_bias_mlp.0.bias", (512,)),
        Parameter("continuous_position_bias_mlp.2.weight", (heads, 512)),
    )


def _own_keys(block: Block, extra: tuple[Operator, ...]) -> Block:
    """Attention within a window: keys and values are made at each position, as queries are."""
    found: list[Block | Operator] = [*extra]
    for child in block.children:
        found += child.children if isinstance(child, Block) else (child,)
    return replace(block, children=tuple(found))


def _unbiased(child: Block | Operator) -> Block | Operator:
    is_key = isinstance(child, Linear) and child.name == "key"
    return replace(child, bias=False) if is_key and isinstance(child, Linear) else child


def _swin(config: Config, second: bool, spare: int = 0) -> Network:
    """`spare`: rows of the absolute positions beyond the patches."""
    config = read(config, SWIN)
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    grid = Grid(*image, config.integer("num_channels"))
    embedding = _patches(config, grid, "projection")
    if config.flag("use_absolute_embeddings"):
        whole = (image[0] // patch[0]) * (image[1] // patch[1])
        free = Parameter("position_embeddings", (1, whole + spare, grid.channels))
        embedding = replace(embedding, children=(*embedding.children, free))
    parts: list[Block] = [embedding]
    steps = stages(config, "depths", "num_heads")
    agree(config, "hidden_size", grid.channels * 2 ** (len(steps) - 1))
    agree(config, "num_layers", len(steps))
    for index, (depth, heads) in enumerate(steps):
        parts.append(residual(grid, _swin_layer(config, grid, heads, second), depth))
        if index + 1 < len(steps):
            parts.append(_merging(grid, second))
    return image_network(config, grid, (*parts, last_norm(grid)))


def donut_swin(config: Config) -> Network:
    """DonutSwinModel: Swin without the norm at its end."""
    network = _swin(config, second=False, spare=1)
    parts = tuple(part for part in network.root.children if part.name != "norm")
    return replace(network, root=replace(network.root, children=parts))


def _merging(grid: Grid, second: bool) -> Block:
    """Four neighbouring positions become one of twice the width."""
    width = grid.channels
    grid.shrink(2)
    grid.channels = 2 * width
    reduction = Linear("reduction", 4 * width, 2 * width)
    ends = (reduction, norm("norm", 2 * width)), (norm("norm", 4 * width), reduction)
    return Block("downsample", ends[0] if second else ends[1], stream=grid.stream())


def swin(config: Config) -> Network:
    """SwinForImageClassification: attention within windows that shift from layer to layer."""
    return _swin(config, second=False)


def swinv2(config: Config) -> Network:
    """Swinv2ForImageClassification: cosine attention, norms after, biases from a network."""
    return _swin(config, second=True, spare=1)


def _convnext(config: Config, second: bool) -> Network:
    config = read(config, CONVNEXT)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    steps = stages(config, "hidden_sizes", "depths")
    agree(config, "num_stages", len(steps))
    first = Config({"embed_dim": steps[0][0], "patch_size": config.get("patch_size")}, path="")
    parts: list[Block] = [_patches(first, grid, "patch_embeddings")]
    for index, (width, depth) in enumerate(steps):
        if index:
            before = norm("downsampling_norm", grid.channels)
            parts.append(Block("downsample", (before,), stream=grid.stream()))
            shrunk = grid.shrink(2, upwards=False)
            convolution = Convolution(
                "downsampling", grid.channels, width, (2, 2), input_positions=shrunk
            )
            parts.append(Block("downsample", (convolution,), stream=grid.stream()))
            grid.channels = width
        parts.append(residual(grid, _convnext_layer(config, width, second), depth))
    return image_network(config, grid, (*parts, last_norm(grid, pooled=True)))


def _convnext_layer(config: Config, width: int, second: bool) -> Children:
    inner = 4 * width
    scale: Children = ()
    if not second and config.number("layer_scale_init_value", -1e9) > 0:
        scale = (Parameter("layer_scale_parameter", (width,)),)
    shared: Children = ()
    if second:
        names = ("grn.weight", "grn.bias")
        shared = tuple(Parameter(name, (1, 1, 1, inner)) for name in names)
    return (
        Convolution("dwconv", width, width, (7, 7), width),
        norm("layernorm", width),
        Block(
            "mlp",
            (
                Linear("pwconv1", width, inner, True),
                Activation("act", inner, config.text("hidden_act")),
                *shared,
                Linear("pwconv2", inner, width, True),
            ),
        ),
        *scale,
    )


def convnext(config: Config) -> Network:
    """ConvNextForImageClassification."""
    return _convnext(config, second=False)


def convnextv2(config: Config) -> Network:
    """ConvNextV2ForImageClassification: responses normalised over the positions."""
    return _convnext(config, second=True)


def focalnet(config: Config) -> Network:
    """FocalNetForImageClassification: focal modulation instead of attention."""
    config = read(config, FOCALNET)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    overlapping = config.flag("use_conv_embed")
    parts = [_focal_patches(config, grid, 7 if overlapping else None, 4)]
    steps = stages(config, "depths", "focal_levels", "focal_windows")
    for index, (depth, levels, window) in enumerate(steps):
        parts.append(residual(grid, _focal_layer(config, grid, levels, window), depth))
        if index + 1 < len(steps):
            wider = Config({**config.data, "embed_dim": 2 * grid.channels, "patch_size": 2})
            parts.append(_focal_patches(wider, grid, 3 if overlapping else None, 2))
    return image_network(config, grid, (*parts, last_norm(grid)))


def _focal_patches(config: Config, grid: Grid, kernel: int | None, stride: int) -> Block:
    """Patches that overlap where a kernel is given."""
    config = read(config, FOCALNET)
    if kernel is None:
        return _patches(config, grid, "projection")
    inputs, width = grid.channels, config.integer("embed_dim")
    shrunk = grid.shrink(stride)
    grid.channels = width
    convolution = Convolution("projection", inputs, width, (kernel, kernel), input_positions=shrunk)
    return Block("embedding", (convolution, norm("norm", width)), stream=grid.stream())


def _focal_layer(config: Config, grid: Grid, levels: int, window: int) -> Children:
    width = grid.channels
    if levels > MOST_LEVELS:
        raise refuse(config, "focal_levels", f"at most {MOST_LEVELS}")
    kernels = [2 * level + window for level in range(levels)]
    contexts = [
        operator
        for size in kernels
        for operator in (
            Convolution(f"focal_{size}", width, width, (size, size), width, bias=False),
            Activation(f"focal_act_{size}", width, "gelu"),
        )
    ]
    normed = config.flag("use_post_layernorm_in_modulation")
    modulation = Block(
        "modulation",
        (
            Linear("projection_in", width, 2 * width + levels + 1, True),
            *contexts,
            Convolution("projection_context", width, width, (1, 1)),
            # The last context, what the gates make of all of them, and the query that it modulates.
            Activation("modulator", width, "gelu", gated=True),
            *((norm("layernorm", width),) if normed else ()),
            Linear("projection_out", width, width, True),
        ),
    )
    inner = int(width * config.number("mlp_ratio", 0.0, 1e3))
    mlp = plain_mlp(width, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    scaled = config.flag("use_layerscale")
    gammas = tuple(Parameter(f"gamma_{i}", (width,)) for i in (1, 2)) if scaled else ()
    return norm("norm1", width), modulation, norm("norm2", width), mlp, *gammas


FAMILIES = {
    "convnext": convnext,
    "convnextv2": convnextv2,
    "donut-swin": donut_swin,
    "focalnet": focalnet,
    "swin": swin,
    "swinv2": swinv2,
}
