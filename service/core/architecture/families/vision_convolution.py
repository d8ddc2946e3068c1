"""Convolution networks for images beside ResNet.

mobilenet_v1 (Howard et al. 2017, arXiv 1704.04861), mobilenet_v2 (1801.04381), regnet
(2003.13678), efficientnet (1905.11946). A sample is one image of the configuration's size, or of
224 x 224 where it names none. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

import math

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.pictures import (
    Grid,
    image_network,
    merged,
    residual,
    sizes,
    stages,
)
from service.core.architecture.families.resnet import IMAGE_SIZE
from service.core.architecture.families.trunk import read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Split
from service.core.architecture.tree import Block

MOBILENET_V1 = {
    "num_channels": 3,
    "image_size": 224,
    "depth_multiplier": 1.0,
    "min_depth": 8,
    "hidden_act": "relu6",
    "tf_padding": True,
}
MOBILENET_V2 = MOBILENET_V1 | {
    "depth_divisible_by": 8,
    "expand_ratio": 6.0,
    "output_stride": 32,
    "first_layer_is_expansion": True,
    "finegrained_output": True,
}
REGNET = {
    "num_channels": 3,
    "embedding_size": 32,
    "hidden_sizes": [128, 192, 512, 1088],
    "depths": [2, 6, 12, 2],
    "groups_width": 64,
    "layer_type": "y",
    "hidden_act": "relu",
    "downsample_in_first_stage": True,
}
EFFICIENTNET = {
    "num_channels": 3,
    "image_size": 600,
    "width_coefficient": 2.0,
    "depth_coefficient": 3.1,
    "depth_divisor": 8,
    "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "in_channels": [32, 16, 24, 40, 80, 112, 192],
    "out_channels": [16, 24, 40, 80, 112, 192, 320],
    "strides": [1, 2, 2, 2, 1, 2, 1],
    "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
    "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
    "squeeze_expansion_ratio": 0.25,
    "hidden_act": "swish",
    "hidden_dim": 2560,
}
_V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_V2_CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
_V2_STRIDES = (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


def divisible(value: float, divisor: int = 8, minimum: int | None = None) -> int:
    """The nearest multiple of the divisor, not more than a tenth below the value."""
    floor = divisor if minimum is None else minimum
    found = max(floor, int(value + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * value else found


def _multiplied(config: Config, channels: int) -> int:
    wanted = round(channels * config.number("depth_multiplier", 1e-6, 1e3))
    return divisible(wanted, config.integer("depth_divisible_by"), config.integer("min_depth"))


def mobilenet_v1(config: Config) -> Network:
    """MobileNetV1ForImageClassification: depthwise and pointwise convolutions in turn."""
    config = read(config, MOBILENET_V1)
    channels, padded = config.integer("num_channels"), config.flag("tf_padding")
    grid = Grid(*sizes(config, "image_size"), channels, padded)
    act, times = config.text("hidden_act"), config.number("depth_multiplier", 1e-6, 1e3)
    least = config.integer("min_depth")
    depth, width = 32, max(int(32 * times), least)
    parts = [grid.convolve("stem", width, 3, 2, act=act)]
    for index, stride in enumerate(_V1_STRIDES):
        if stride == 2 or index == 0:
            depth *= 2
        width = max(int(depth * times), least)
        depthwise = grid.convolve("depthwise", grid.channels, 3, stride, grid.channels, act)
        pointwise = grid.convolve("pointwise", width, 1, act=act)
        parts.append(residual(grid, (depthwise, pointwise)))
    return image_network(config, grid, tuple(merged(parts)))


def inverted(grid: Grid, inner: int, outputs: int, stride: int, act: str) -> Block:
    """MobileNet V2's residual: wider, depthwise, narrower."""
    expand = grid.convolve("expand_1x1", inner, 1, act=act)
    depthwise = grid.convolve("conv_3x3", inner, 3, stride, inner, act)
    reduce = grid.convolve("reduce_1x1", outputs, 1)
    return residual(grid, (expand, depthwise, reduce))


def mobilenet_v2(config: Config) -> Network:
    """MobileNetV2ForImageClassification: inverted residuals."""
    config = read(config, MOBILENET_V2)
    channels, padded = config.integer("num_channels"), config.flag("tf_padding")
    grid = Grid(*sizes(config, "image_size"), channels, padded)
    act, times = config.text("hidden_act"), config.number("depth_multiplier", 1e-6, 1e3)
    widths = [_multiplied(config, width) for width in _V2_CHANNELS]
    parts = [_v2_stem(config, grid, widths[0])]
    reached = 2
    for step, outputs in zip(_V2_STRIDES, widths[1:], strict=True):
        stride = 1 if reached == config.integer("output_stride") else step
        reached *= stride
        wide = round(grid.channels * config.number("expand_ratio", 1e-6, 1e3))
        inner = divisible(wide, config.integer("depth_divisible_by"), config.integer("min_depth"))
        parts.append(inverted(grid, inner, outputs, stride, act))
    fine = config.flag("finegrained_output") and times < 1.0
    outputs = 1280 if fine else _multiplied(config, 1280)
    last = grid.convolve("conv_1x1", outputs, 1, act=act)
    return image_network(config, grid, (*merged(parts), last))


def _v2_stem(config: Config, grid: Grid, outputs: int) -> Block:
    act, inner = config.text("hidden_act"), _multiplied(config, 32)
    parts = [grid.convolve("first_conv", inner, 3, 2, act=act)]
    if not config.flag("first_layer_is_expansion"):
        parts.append(grid.convolve("expand_1x1", inner, 1, act=act))
    parts.append(grid.convolve("conv_3x3", inner, 3, 1, inner, act))
    parts.append(grid.convolve("reduce_1x1", outputs, 1))
    return Block("stem", tuple(parts))


def regnet(config: Config) -> Network:
    """RegNetForImageClassification: grouped convolutions, with a squeeze and excitation in Y."""
    config = read(config, REGNET)
    if config.text("layer_type") not in ("x", "y"):
        raise refuse(config, "layer_type", "x, y")
    grid = Grid(IMAGE_SIZE, IMAGE_SIZE, config.integer("num_channels"))
    act = config.text("hidden_act")
    parts = [grid.convolve("stem", config.integer("embedding_size"), 3, 2, act=act)]
    for index, (width, depth) in enumerate(stages(config, "hidden_sizes", "depths")):
        first = 2 if index or config.flag("downsample_in_first_stage") else 1
        parts.append(_regnet_layer(config, grid, width, first))
        if depth > 1:
            again = _regnet_layer(config, grid, width, 1)
            parts.append(residual(grid, again.children, depth - 1))
    return image_network(config, grid, tuple(parts))


def _regnet_layer(config: Config, grid: Grid, width: int, stride: int) -> Block:
    act, inputs = config.text("hidden_act"), grid.channels
    groups = max(1, width // config.integer("groups_width"))
    shortcut: Children = ()
    if inputs != width or stride != 1:
        beside = Grid(grid.height, grid.width, inputs)
        shortcut = (beside.convolve("shortcut", width, 1, stride),)
    body = [
        grid.convolve("reduce", width, 1, act=act),
        grid.convolve("grouped", width, 3, stride, groups, act),
    ]
    if config.text("layer_type") == "y":
        body.append(grid.excite(max(1, round(inputs / 4)), "relu"))
    body.append(grid.convolve("expand", width, 1))
    last = Activation("activation", width, act, split=Split.WHOLE)
    return residual(grid, (*shortcut, *body, last))


def efficientnet(config: Config) -> Network:
    """EfficientNetForImageClassification: MobileNet V2's residuals, scaled in width and depth."""
    config = read(config, EFFICIENTNET)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    act, deep = config.text("hidden_act"), config.number("depth_coefficient", 1e-6, 100.0)
    parts = [grid.convolve("stem", _rounded(config, 32), 3, 2, act=act)]
    fields = ("in_channels", "out_channels", "kernel_sizes", "strides", "expand_ratios")
    for inputs, outputs, kernel, stride, ratio, count in stages(
        config, *fields, "num_block_repeats"
    ):
        if grid.channels != _rounded(config, inputs):
            raise refuse(config, "in_channels", "the channels before each stage")
        width, repeats = _rounded(config, outputs), math.ceil(deep * count)
        parts.append(_efficient_layer(config, grid, width, kernel, stride, ratio))
        if repeats > 1:
            again = _efficient_layer(config, grid, width, kernel, 1, ratio)
            parts.append(residual(grid, again.children, repeats - 1))
    width = config.integer("hidden_dim")
    if width != _rounded(config, 1280):
        raise refuse(config, "hidden_dim", f"{_rounded(config, 1280)} with this width_coefficient")
    parts.append(grid.convolve("top", width, 1, act=act))
    return image_network(config, grid, tuple(merged(parts)))


def _rounded(config: Config, channels: int) -> int:
    times = config.number("width_coefficient", 1e-6, 1e3)
    return divisible(channels * times, config.integer("depth_divisor"))


def _efficient_layer(
    config: Config, grid: Grid, outputs: int, kernel: int, stride: int, ratio: int
) -> Block:
    act, inputs = config.text("hidden_act"), grid.channels
    inner = inputs * ratio
    squeezed = max(1, int(inputs * config.number("squeeze_expansion_ratio", 0.0, 1e3)))
    expand = (grid.convolve("expand", inner, 1, act=act),) if ratio != 1 else ()
    depthwise = grid.convolve("depthwise", inner, kernel, stride, inner, act)
    excite = grid.excite(squeezed, act)
    project = grid.convolve("project", outputs, 1)
    return residual(grid, (*expand, depthwise, excite, project))


FAMILIES = {
    "efficientnet": efficientnet,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "regnet": regnet,
}
