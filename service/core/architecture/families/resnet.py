"""Residual convolution networks: resnet (He et al. 2015, arXiv 1512.03385).

The shape of transformers' ResNet, which counts as torchvision's V1 networks do. A sample is one
image of 224 x 224 pixels, the size that the published networks were trained on: the config names
none. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import encoder, on_top
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Norm,
    Operator,
    Pool,
    Split,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

RESNET = {
    "num_channels": 3,
    "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}
IMAGE_SIZE = 224


def convolved(
    inputs: int, outputs: int, kernel: int, stride: int, act: str | None
) -> tuple[Operator, ...]:
    """Convolution, batch norm, and an activation where `act` names one."""
    convolution = Convolution(
        "convolution", inputs, outputs, (kernel, kernel), bias=False, input_positions=stride**2
    )
    found: tuple[Operator, ...] = (convolution, Norm("normalization", outputs, "batch", bias=True))
    return (*found, Activation("activation", outputs, act, split=Split.WHOLE)) if act else found


def resnet(config: Config) -> Network:
    """ResNetForImageClassification, ResNetModel, ResNetBackbone."""
    config = read(config, RESNET)
    widths = _whole(config, "hidden_sizes")
    depths = _whole(config, "depths")
    if len(widths) != len(depths):
        raise ConfigError(config.where("depths"), "depths must have one item for each hidden size")
    act, first = config.text("hidden_act"), config.integer("embedding_size")
    side = -(-IMAGE_SIZE // 2)
    stem = Block("stem", convolved(config.integer("num_channels"), first, 7, 2, act))
    side, pooled = -(-side // 2), fixed(float((-(-side // 2)) ** 2))
    parts: list[Block] = [
        Block(stem.name, stem.children, stream=fixed(float((-(-IMAGE_SIZE // 2)) ** 2))),
        Block("pool", (Pool("pooler", first, 4.0, "max"),), stream=pooled),
    ]
    inputs = first
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        stride = 2 if index or config.flag("downsample_in_first_stage") else 1
        outer, side = side, -(-side // stride)
        parts += _stage(config, (inputs, width), depth, stride, (outer, side))
        inputs = width
    tops: dict[str, Children] = {
        "ForImageClassification": (
            Block("head", (Linear("classifier", inputs, labels(config), True),), stream=fixed(1)),
        ),
        "Model": (),
        "Backbone": (),
    }
    pool = Block("pool", (Pool("pooler", inputs, float(side**2)),), stream=fixed(1))
    top = on_top(config, tops, "ForImageClassification")
    return encoder(config, inputs, (*parts, pool, *top), tokens=False)


def _whole(config: Config, name: str) -> list[int]:
    given = config.sequence(name, 64)
    values = Config({str(i): value for i, value in enumerate(given)}, path=config.where(name))
    return [values.integer(str(i)) for i in range(len(given))]


def _stage(
    config: Config, widths: tuple[int, int], depth: int, stride: int, sides: tuple[int, int]
) -> list[Block]:
    """The first block of a stage, which changes size and width, and the others alike."""
    inputs, width = widths
    changes = _residual(config, inputs, width, stride, sides)
    others = _residual(config, width, width, 1, (sides[1], sides[1]))
    stream = fixed(float(sides[1] ** 2))
    blocks = [Block("layer", changes, layer=True, stream=stream)]
    if depth > 1:
        blocks.append(Block("layer", others, repeat=depth - 1, layer=True, stream=stream))
    return blocks


def _residual(
    config: Config, inputs: int, outputs: int, stride: int, sides: tuple[int, int]
) -> Children:
    act = config.text("hidden_act")
    kind = config.text("layer_type")
    before = fixed(float(sides[0] ** 2))
    if kind == "basic":
        body: Children = (
            *convolved(inputs, outputs, 3, stride, act),
            *convolved(outputs, outputs, 3, 1, None),
        )
    elif kind == "bottleneck":
        narrow = outputs // 4
        early = stride if config.flag("downsample_in_bottleneck") else 1
        reduce = convolved(inputs, narrow, 1, early, act)
        body = (
            *((Block("reduce", reduce, stream=before),) if early == 1 else reduce),
            *convolved(narrow, narrow, 3, stride // early, act),
            *convolved(narrow, outputs, 1, 1, None),
        )
    else:
        raise refuse(config, "layer_type", "basic, bottleneck")
    shortcut: Children = ()
    if inputs != outputs or stride != 1:
        shortcut = (Block("shortcut", convolved(inputs, outputs, 1, stride, None)),)
    return (*shortcut, *body, Activation("activation", outputs, act, split=Split.WHOLE))


FAMILIES = {"resnet": resnet}
