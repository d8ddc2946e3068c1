"""Small image networks that mix convolutions and attention.

mobilevit (Mehta & Rastegari 2021, arXiv 2110.02178), mobilevitv2 (2206.02680), levit (2104.01136),
swiftformer (2303.15446). A sample is one image of the configuration's size. Defaults are those of
transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bert import norm
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    plain_mlp,
)
from service.core.architecture.families.pictures import (
    Grid,
    classes_of,
    image_network,
    merged,
    residual,
    sizes,
    stages,
    whole_numbers,
)
from service.core.architecture.families.trunk import head_width, labels, probability, read, refuse
from service.core.architecture.families.vision_convolution import divisible, inverted
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Linear,
    Norm,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import fixed

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
    "levit": levit,
    "mobilevit": mobilevit,
    "mobilevitv2": mobilevitv2,
    "swiftformer": swiftformer,
}
