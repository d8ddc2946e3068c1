"""What makes a decoder's vectors of an image tower's, by family; and how many are left.

Each takes (config, tower, the decoder's width). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.towers import Tower
from service.core.architecture.families.trunk import refuse
from service.core.architecture.operators import Activation, Linear, Norm, Operator, Parameter


def two_linear(
    config: Config, inputs: int, middle: int, width: int, bias: bool
) -> tuple[Operator, ...]:
    """Two products with an activation between them."""
    act = Activation("act", middle, config.text("projector_hidden_act", "gelu"))
    return Linear("linear_1", inputs, middle, bias), act, Linear("linear_2", middle, width, bias)


def llava(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """Two products of one layer of the tower, or of several side by side."""
    layers = config.get("vision_feature_layer")
    taken = len(layers) if isinstance(layers, list | tuple) else 1
    bias = config.get("multimodal_projector_bias") is not False
    return two_linear(config, made.width * taken, width, width, bias)


def llava_next(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """The same, and a vector that stands for the end of a line."""
    return Parameter("image_newline", (width,)), *llava(config, made, width)


def vipllava(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """A norm and two products of several layers side by side."""
    layers = config.get("vision_feature_layer")
    taken = len(layers) if isinstance(layers, list | tuple) else 1
    inputs = made.width * taken
    return norm("projector_layernorm", inputs), *two_linear(config, inputs, width, width, True)


def paligemma(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """One product."""
    return (Linear("linear", made.width, config.integer("projection_dim"), True),)


def gemma3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """A norm and a product."""
    return Norm("mm_soft_emb_norm", made.width), Linear("mm_input_projection", made.width, width)


def shuffled(config: Config, made: Tower) -> int:
    """Vectors left when squares of neighbours become one."""
    return made.positions // config.integer("scale_factor") ** 2


def idefics3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """One product of each square of neighbours."""
    return (Linear("proj", made.width * config.integer("scale_factor") ** 2, width),)


def merged(config: Config, made: Tower) -> int:
    """Vectors left when squares of patches are merged."""
    return made.positions // config.integer("spatial_merge_size") ** 2


def mistral3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """A norm, a merge of patches and two products."""
    if isinstance(config.get("vision_feature_layer"), list | tuple):
        raise refuse(config, "vision_feature_layer", "one layer")
    merged = made.width * config.integer("spatial_merge_size") ** 2
    bias = config.flag("multimodal_projector_bias")
    norms = (Norm("norm", made.width), Linear("merging_layer", merged, made.width))
    return (*norms, *two_linear(config, made.width, width, width, bias))


def sampled(config: Config, made: Tower) -> int:
    """Vectors left at a lower resolution."""
    return int(made.positions * config.number("downsample_ratio", 0.0, 1.0) ** 2)


def internvl(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """A norm and two products of neighbouring vectors."""
    inputs = made.width * int(1 / config.number("downsample_ratio", 0.01, 1.0)) ** 2
    return norm("layer_norm", inputs), *two_linear(config, inputs, width, width, True)


def factored(config: Config, made: Tower) -> int:
    """Vectors left when each square becomes one."""
    return made.positions // config.integer("downsample_factor") ** 2


def _gated(inputs: int, middle: int, width: int) -> tuple[Operator, ...]:
    """Two products with a gated activation, which halves the width, between them."""
    act = Activation("act", middle // 2, "silu", gated=True)
    first, second = Linear("linear_1", inputs, middle, True), Linear("linear_2", middle // 2, width)
    return first, act, replace(second, bias=True)


def _even(config: Config, middle: int) -> int:
    if middle % 2:
        raise refuse(config, "alignment_intermediate_size", "an even number")
    return middle


def cohere2(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """A gated pair of products of neighbouring vectors."""
    inputs = made.width * config.integer("downsample_factor") ** 2
    return _gated(inputs, _even(config, config.integer("alignment_intermediate_size")), width)


def aya(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """The same behind a norm."""
    inputs = made.width * config.integer("downsample_factor") ** 2
    middle = config.optional("alignment_intermediate_size", 1) or width
    return norm("layernorm", inputs), *_gated(inputs, _even(config, middle), width)


def lfm2(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    """Two products of neighbouring vectors, behind a norm where asked for."""
    inputs = made.width * config.integer("downsample_factor") ** 2
    middle = config.integer("projector_hidden_size")
    products = two_linear(config, inputs, middle, width, config.flag("projector_bias"))
    normed = (norm("layer_norm", inputs),) if config.flag("projector_use_layernorm") else ()
    return (*normed, *products)
