"""SwiftFormer: convolutions with additive attention (Shaker et al. 2023, arXiv 2303.15446).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.pictures import (
    Grid,
    classes_of,
    image_network,
    residual,
    sizes,
    stages,
)
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Norm,
    Operator,
    Parameter,
)
from service.core.architecture.tree import Block

SWIFTFORMER = {
    "image_size": 224,
    "num_channels": 3,
    "depths": [3, 3, 6, 4],
    "embed_dims": [48, 56, 112, 220],
    "mlp_ratio": 4,
    "downsamples": [True, True, True, True],
    "hidden_act": "gelu",
    "down_patch_size": 3,
    "down_stride": 2,
    "use_layer_scale": True,
}


def swiftformer(config: Config) -> Network:
    """SwiftFormerForImageClassification: additive attention at the end of each stage."""
    config = read(config, SWIFTFORMER)
    grid = Grid(*sizes(config, "image_size"), config.integer("num_channels"))
    steps, shrinks = stages(config, "depths", "embed_dims"), config.sequence("downsamples", 64)
    if len(shrinks) < len(steps) or any(not isinstance(item, bool) for item in shrinks):
        raise ConfigError(config.where("downsamples"), "downsamples must be flags, one a stage")
    first = steps[0][1]
    parts = [
        grid.convolve("embedding", first // 2, 3, 2, act="relu", bias=True),
        grid.convolve("embedding", first, 3, 2, act="relu", bias=True),
    ]
    for index, (depth, width) in enumerate(steps):
        if depth > 1:
            parts.append(residual(grid, _swift_convolution(config, width), depth - 1))
        if depth:
            parts.append(residual(grid, _swift_block(config, width)))
        later = steps[index + 1][1] if index + 1 < len(steps) else None
        if later and (shrinks[index] or later != width):
            kernel, stride = config.integer("down_patch_size"), config.integer("down_stride")
            parts.append(grid.convolve("downsample", later, kernel, stride, bias=True))
    last = Block("norm", (Norm("norm", grid.channels, "batch", bias=True),), stream=grid.stream())
    head = classes_of(config, grid.channels)["ForImageClassification"][0]
    assert isinstance(head, Block)
    both: Children = (head, replace(head, name="distillation_head"))
    tops: dict[str, Children] = {"ForImageClassification": (last, *both), "Model": ()}
    return image_network(config, grid, tuple(parts), tops)


def _pointwise(width: int, inner: int, names: tuple[str, str], act: str) -> tuple[Operator, ...]:
    first, second = Linear(names[0], width, inner, True), Linear(names[1], inner, width, True)
    return first, Activation("act", inner, act), second


def _swift_convolution(config: Config, width: int, ratio: float | None = None) -> Children:
    inner = int((config.number("mlp_ratio", 0.0, 1e3) if ratio is None else ratio) * width)
    return (
        Convolution("depth_wise_conv", width, width, (3, 3), width),
        Norm("norm", width, "batch", bias=True),
        *_pointwise(width, inner, ("point_wise_conv1", "point_wise_conv2"), "gelu"),
        Parameter("layer_scale", (width, 1, 1)),
    )


def _swift_block(config: Config, width: int) -> Children:
    own = (
        Linear("to_query", width, width, True),
        Linear("to_key", width, width, True),
        Parameter("w_g", (width, 1)),
        Linear("proj", width, width, True),
        Linear("final", width, width, True),
    )
    inner = int(width * config.number("mlp_ratio", 0.0, 1e3))
    mlp = _pointwise(width, inner, ("fc1", "fc2"), config.text("hidden_act"))
    scaled = config.flag("use_layer_scale")
    scales = tuple(Parameter(f"layer_scale_{i}", (width, 1, 1)) for i in (1, 2)) if scaled else ()
    return (
        Block("local", _swift_convolution(config, width, 1.0)),
        Block("attention", own),
        Block("mlp", (Norm("norm1", width, "batch", bias=True), *mlp)),
        *scales,
    )


FAMILIES = {
    "swiftformer": swiftformer,
}
