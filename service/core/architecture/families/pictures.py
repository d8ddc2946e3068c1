"""What networks of images share: a grid of positions that convolutions shrink, and their stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import classifier, encoder, norm, on_top
from service.core.architecture.families.trunk import labels
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
from service.core.architecture.polynomial import Stream, fixed
from service.core.architecture.tree import Block


def whole_numbers(config: Config, name: str, minimum: int = 1) -> list[int]:
    """A list of whole numbers, one for each stage."""
    given = config.sequence(name, 64)
    values = Config({str(i): value for i, value in enumerate(given)}, path=config.where(name))
    return [values.integer(str(i), minimum) for i in range(len(given))]


def stages(config: Config, *names: str, minimum: int = 1) -> list[tuple[int, ...]]:
    """One tuple for each stage from lists of equal length."""
    lists = [whole_numbers(config, name, minimum) for name in names]
    for name, found in zip(names, lists, strict=True):
        if len(found) != len(lists[0]):
            raise ConfigError(config.where(name), f"{name} must be as long as {names[0]}")
    return list(zip(*lists, strict=True))


def sizes(config: Config, name: str) -> tuple[int, int]:
    """Height and width from a number or a pair."""
    value = config.get(name)
    if isinstance(value, list | tuple):
        pair = Config({str(i): size for i, size in enumerate(value)}, path=config.where(name))
        return pair.integer("0"), pair.integer("1")
    return config.integer(name), config.integer(name)


@dataclass
class Grid:
    """The positions and channels of the data, as they change from operator to operator."""

    height: int
    width: int
    channels: int
    padded: bool = False
    """Convolutions read a padded copy, as TensorFlow pads."""

    def stream(self) -> Stream:
        """The positions as a stream."""
        return fixed(float(self.height * self.width))

    def shrink(self, stride: int | tuple[int, int], upwards: bool = True) -> float:
        """Keep one position in `stride` on each axis; the positions before for one after."""
        before = self.height * self.width
        down, across = (stride, stride) if isinstance(stride, int) else stride
        if upwards:
            self.height, self.width = -(-self.height // down), -(-self.width // across)
        else:
            self.height, self.width = self.height // down, self.width // across
        if not self.height * self.width:
            raise ConfigError("image_size", "image_size is smaller than the patches of the network")
        return before / (self.height * self.width)

    def convolve(
        self,
        name: str,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: str | None = None,
        bias: bool = False,
        normed: bool = True,
    ) -> Block:
        """A convolution that keeps the size but for its stride, batch norm and activation."""
        if self.channels % groups or outputs % groups:
            raise ConfigError(name, f"{groups} groups do not divide {self.channels} channels")
        border = self.border(kernel, stride) if self.padded else 1.0
        shrunk = self.shrink(stride) * border
        made: list[Operator] = [
            Convolution(
                "convolution", self.channels, outputs, (kernel, kernel), groups, bias, shrunk
            )
        ]
        if normed:
            made.append(Norm("normalization", outputs, "batch", bias=True))
        if act:
            made.append(Activation("activation", outputs, act, split=Split.WHOLE))
        self.channels = outputs
        return Block(name, tuple(made), stream=self.stream())

    def border(self, kernel: int, stride: int) -> float:
        """Positions of the padded input for one of the input.

        Enough are added that each `stride` begins a kernel that is full.
        """
        area = 1.0
        for side in (self.height, self.width):
            area *= 1.0 + max(kernel - (side % stride or stride), 0) / side
        return area

    def excite(self, width: int, act: str, name: str = "squeeze_excite") -> Block:
        """Squeeze and excitation (Hu et al. 2017, arXiv 1709.01507): a scale for each channel."""
        pool = Pool("squeeze", self.channels, float(self.height * self.width))
        parts = (
            pool,
            Linear("reduce", self.channels, width, True),
            Activation("act", width, act),
            Linear("expand", width, self.channels, True),
        )
        return Block(name, parts, stream=fixed(1))


def residual(grid: Grid, children: Children, repeat: int = 1) -> Block:
    """One layer of a stage, on the positions that the grid has now."""
    return Block("layer", children, repeat=repeat, layer=True, stream=grid.stream())


def merged(blocks: list[Block]) -> list[Block]:
    """Equal neighbours as one repeated layer."""
    found: list[Block] = []
    for block in blocks:
        if found and replace(found[-1], repeat=1) == replace(block, repeat=1):
            found[-1] = replace(found[-1], repeat=found[-1].repeat + block.repeat)
        else:
            found.append(block)
    return found


def classes_of(config: Config, width: int) -> Mapping[str, Children]:
    """The classes that nearly every image network has."""
    head = replace(classifier(width, labels(config)), stream=fixed(1))
    return {"ForImageClassification": (head,), "Model": ()}


def image_network(
    config: Config,
    grid: Grid,
    parts: Children,
    tops: Mapping[str, Children] | None = None,
    default: str = "ForImageClassification",
) -> Network:
    """An image network: its parts, a pool over all positions, and the class on top."""
    pool = Pool("pooler", grid.channels, float(grid.height * grid.width))
    top = on_top(config, tops or classes_of(config, grid.channels), default)
    pooled = (Block("pool", (pool,), stream=fixed(1)),)
    return encoder(config, grid.channels, (*parts, *pooled, *top), tokens=False)


def last_norm(grid: Grid, name: str = "layernorm", pooled: bool = False) -> Block:
    """The norm after the last stage, over all positions or over their mean."""
    stream = fixed(1) if pooled else grid.stream()
    return Block("norm", (norm(name, grid.channels),), stream=stream)
