"""DPT: dense prediction over a ViT's features of four depths (Ranftl et al. 2021, 2103.13413).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import sizes, whole_numbers
from service.core.architecture.families.trunk import read, refuse
from service.core.architecture.families.vision_transformer import (
    NORMS,
    VIT,
    image_model,
    patch_projection,
    patches,
    placed,
    vision_layer,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Linear, Operator, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

DPT = VIT | {
    "image_size": 384,
    "readout_type": "project",
    "reassemble_factors": [4, 2, 1, 0.5],
    "neck_hidden_sizes": [96, 192, 384, 768],
    "fusion_hidden_size": 256,
}


def _dpt_neck(config: Config, side: tuple[int, int]) -> Children:
    """Features of four depths on grids of four sizes, fused from the coarsest on."""
    hidden, wide = config.integer("hidden_size"), config.integer("fusion_hidden_size")
    widths, factors = (
        whole_numbers(config, "neck_hidden_sizes"),
        config.sequence("reassemble_factors", 16),
    )
    if len(widths) != len(factors):
        raise ConfigError(
            config.where("reassemble_factors"), "reassemble_factors must be as long as the neck"
        )
    count = side[0] * side[1]
    gathered: list[Block] = []
    fused: list[Block] = []
    for index, width in enumerate(widths):
        factor = Config({"f": factors[index]}, path=config.where("reassemble_factors")).number("f")
        here = float(count * factor**2)
        parts: list[Operator] = [Linear("projection", hidden, width, True)]
        if config.text("readout_type") == "project":
            readout = Linear("readout_project", 2 * hidden, hidden, True)
            parts = [readout, Activation("act", hidden, "gelu"), *parts]
        gathered.append(Block("reassemble", tuple(parts), stream=fixed(count)))
        if factor != 1:
            kernel = int(factor) if factor > 1 else 3
            resize = Convolution(
                "resize", width, width, (kernel, kernel), input_positions=count / here
            )
            # A transposed convolution reads each input position once for the kernel's outputs.
            stream = fixed(float(count) if factor > 1 else here)
            gathered.append(Block("reassemble", (resize,), stream=stream))
        gathered.append(
            Block(
                "neck", (Convolution("conv", width, wide, (3, 3), bias=False),), stream=fixed(here)
            )
        )
        residual = tuple(Convolution(f"residual{i}", wide, wide, (3, 3)) for i in range(4))
        fused.append(Block("fusion", residual, stream=fixed(here)))
        fused.append(
            Block("fusion", (Linear("projection", wide, wide, True),), stream=fixed(4 * here))
        )
    return (*gathered, *fused)


def dpt(config: Config) -> Network:
    """DPTForDepthEstimation: a ViT, a convolutional neck and a head that predicts each pixel."""
    config = read(config, DPT)
    for name in ("is_hybrid", "add_projection", "use_batch_norm_in_fusion_residual"):
        if config.flag(name):
            raise refuse(config, name, "false")
    for name in ("backbone_config", "backbone"):
        if config.get(name) is not None:
            raise refuse(config, name, "null")
    if config.sequence("neck_ignore_stages") or config.get("use_bias_in_fusion_residual") is False:
        raise refuse(config, "neck_ignore_stages", "[]")
    hidden, wide = config.integer("hidden_size"), config.integer("fusion_hidden_size")
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    side, count = (image[0] // patch[0], image[1] // patch[1]), patches(config)
    free = (
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("position_embeddings", (1, count + 1, hidden)),
    )
    projection = Block("patches", (patch_projection(config, hidden),), stream=fixed(count))
    stack = vision_layer(config, NORMS, bias=config.flag("qkv_bias"))
    body = (
        Block("embedding", (projection, *free)),
        layer(*stack, repeat=config.layers("num_hidden_layers")),
        Block("norm", (norm("layernorm", hidden),)),
    )
    pixels = float(image[0] * image[1])
    half = Convolution("conv1", wide, wide // 2, (3, 3))
    top = (
        Block("head", (half,), stream=fixed(pixels / 4)),
        Block(
            "head",
            (
                Convolution("conv2", wide // 2, 32, (3, 3)),
                Activation("relu", 32, "relu"),
                Linear("conv3", 32, 1, True),
            ),
            stream=fixed(pixels),
        ),
    )
    tops: Mapping[str, Children] = {"ForDepthEstimation": (*_dpt_neck(config, side), *top)}
    return image_model(config, placed(body, fixed(count + 1)), tops, "ForDepthEstimation")


FAMILIES = {
    "dpt": dpt,
}
