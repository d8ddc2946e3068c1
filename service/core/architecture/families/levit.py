"""LeViT: convolutions, then attention that shrinks its grid (Graham et al. 2021, arXiv 2104.01136).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.pictures import (
    Grid,
    image_network,
    sizes,
    stages,
    whole_numbers,
)
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Linear,
    Norm,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

LEVIT = {
    "image_size": 224,
    "num_channels": 3,
    "kernel_size": 3,
    "stride": 2,
    "padding": 1,
    "patch_size": 16,
    "hidden_sizes": [128, 256, 384],
    "num_attention_heads": [4, 8, 12],
    "depths": [4, 4, 4],
    "key_dim": [16, 16, 16],
    "mlp_ratio": [2, 2, 2],
    "attention_ratio": [2, 2, 2],
}


def _bn(name: str, inputs: int, outputs: int) -> tuple[Operator, ...]:
    """A product followed by a batch norm."""
    return Linear(name, inputs, outputs), Norm(f"{name}_norm", outputs, "batch", bias=True)


def _levit_attention(
    width: int, key: int, heads: int, ratio: int, sides: tuple[int, int], outputs: int
) -> Block:
    """`sides`: the keys' side, and the queries' stride over it (1: plain attention).

    A bias is learned for each distance between a query and a key: as many as there are keys.
    """
    side, stride = sides
    values = ratio * key
    count = float(side * side)
    if stride == 1:
        products: Children = _bn("queries_keys_values", width, heads * (2 * key + values))
    else:
        pairs = _bn("keys_values", width, heads * (key + values))
        found = Block("keys", pairs, stream=fixed(count))
        products = (found, *_bn("queries", width, heads * key))
    return Block(
        "attention",
        (
            *products,
            Attention("attention", heads, heads, key, values, False, keys=fixed(count)),
            Parameter("attention_biases", (heads, side * side)),
            Activation("activation", heads * values, "hardswish"),
            *_bn("projection", heads * values, outputs),
        ),
    )


def _levit_mlp(width: int, ratio: int) -> Block:
    inner = width * ratio
    act = Activation("activation", inner, "hardswish")
    return Block("mlp", (*_bn("linear_up", width, inner), act, *_bn("linear_down", inner, width)))


def levit(config: Config) -> Network:
    """LevitForImageClassification, with or without the teacher's head."""
    config = read(config, LEVIT)
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    if image[0] != image[1] or config.integer("stride") != 2:
        raise refuse(config, "image_size", "square images with strides of 2")
    names = ("hidden_sizes", "depths", "num_attention_heads", "attention_ratio", "mlp_ratio")
    steps, keys = stages(config, *names, minimum=0), whole_numbers(config, "key_dim")
    if len(steps) != 3 or len(keys) != 3:
        raise refuse(config, "depths", "three stages")
    grid = Grid(*image, config.integer("num_channels"))
    first, kernel = steps[0][0], config.integer("kernel_size")
    acts = ("hardswish", "hardswish", "hardswish", None)
    parts: list[Block] = [
        grid.convolve("embedding", first // share, kernel, 2, act=act)
        for share, act in zip((8, 4, 2, 1), acts, strict=True)
    ]
    side = image[0] // patch[0]
    for index, (width, depth, heads, ratio, mlp) in enumerate(steps):
        own = _levit_attention(width, keys[index], heads, ratio, (side, 1), width)
        after = (_levit_mlp(width, mlp),) if mlp else ()
        stream = fixed(float(side * side))
        parts.append(Block("layer", (own, *after), depth, layer=True, stream=stream))
        if index == 2:
            break
        wider, next_side = steps[index + 1][0], (side - 1) // 2 + 1
        halved = _levit_attention(width, keys[0], width // keys[0], 4, (side, 2), wider)
        side = next_side
        children = (halved, _levit_mlp(wider, 2))
        parts.append(Block("layer", children, layer=True, stream=fixed(float(side * side))))
    last = steps[-1][0]
    head = Block(
        "head",
        (
            Norm("batch_norm", last, "batch", bias=True),
            Linear("linear", last, labels(config), True),
        ),
        stream=fixed(1),
    )
    grid = Grid(side, side, last)
    tops: dict[str, Children] = {
        "ForImageClassification": (head,),
        "ForImageClassificationWithTeacher": (head, replace(head, name="distillation_head")),
        "Model": (),
    }
    return image_network(config, grid, tuple(parts), tops)


FAMILIES = {
    "levit": levit,
}
