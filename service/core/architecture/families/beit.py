"""BEiT (Bao et al. 2021, arXiv 2106.08254) and data2vec-vision (2202.03555).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import sizes
from service.core.architecture.families.trunk import read
from service.core.architecture.families.vision_transformer import (
    NORMS,
    VIT,
    image_classes,
    image_model,
    keyless,
    patch_projection,
    placed,
    vision_layer,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Operator, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

BEIT = VIT | {
    "layer_scale_init_value": 0.1,
    "use_mean_pooling": True,
    "use_absolute_position_embeddings": False,
}


def _beit(config: Config, pooled_model: bool) -> Network:
    config = read(config, BEIT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    down, across = image[0] // patch[0], image[1] // patch[1]
    table = Parameter(
        "relative_position_bias_table", ((2 * down - 1) * (2 * across - 1) + 3, heads)
    )
    before, own, after, mlp = vision_layer(config, NORMS)
    own = keyless(own)
    if config.flag("use_relative_position_bias"):
        own = replace(own, children=(*own.children, table))
    scaled = config.number("layer_scale_init_value", -1e9) > 0
    first, second = ((Parameter(f"lambda_{i}", (hidden,)),) if scaled else () for i in (1, 2))
    free: list[Operator] = [Parameter("cls_token", (1, 1, hidden))]
    if config.flag("use_mask_token"):
        free.append(Parameter("mask_token", (1, 1, hidden)))
    if config.flag("use_absolute_position_embeddings"):
        free.append(Parameter("position_embeddings", (1, down * across + 1, hidden)))
    if config.flag("use_shared_relative_position_bias"):
        free.append(table)
    projection = Block("patches", (patch_projection(config, hidden),), stream=fixed(down * across))
    mean = config.flag("use_mean_pooling")
    last = () if mean else (Block("norm", (norm("layernorm", hidden),)),)
    pooler: Children = (Block("pooler", (norm("layernorm", hidden),), stream=fixed(1)),) * mean
    layers = layer(
        before, own, *first, after, mlp, *second, repeat=config.layers("num_hidden_layers")
    )
    body = (Block("embedding", (projection, *free)), layers, *last)
    tops: Mapping[str, Children] = {
        "ForImageClassification": (*pooler, image_classes(config)),
        "Model": pooler if pooled_model else (),
    }
    default = "ForImageClassification" if pooled_model else "Model"
    return image_model(config, placed(body, fixed(down * across + 1)), tops, default)


def beit(config: Config) -> Network:
    """BeitForImageClassification, BeitModel: relative position biases, scales, no key bias."""
    return _beit(config, pooled_model=True)


def data2vec_vision(config: Config) -> Network:
    """Data2VecVisionModel: BEiT's network."""
    return _beit(config, pooled_model=False)


FAMILIES = {
    "beit": beit,
    "data2vec-vision": data2vec_vision,
}
