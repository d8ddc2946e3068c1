"""YOLOS: a ViT with tokens that find objects (Fang et al. 2021, arXiv 2106.00666).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.trunk import labels, read
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
from service.core.architecture.operators import Activation, Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

YOLOS = VIT | {
    "image_size": [512, 864],
    "num_detection_tokens": 100,
    "use_mid_position_embeddings": True,
}


def yolos(config: Config) -> Network:
    """YolosForObjectDetection: tokens that find objects, positions again in each layer."""
    config = read(config, YOLOS)
    hidden, count = config.integer("hidden_size"), patches(config)
    found = config.integer("num_detection_tokens")
    seen, layers = count + found + 1, config.layers("num_hidden_layers")
    free = [
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("detection_tokens", (1, found, hidden)),
        Parameter("position_embeddings", (1, seen, hidden)),
    ]
    if config.flag("use_mid_position_embeddings"):
        free.append(Parameter("mid_position_embeddings", (max(0, layers - 1), 1, seen, hidden)))
    projection = Block("patches", (patch_projection(config, hidden),), stream=fixed(count))
    stack = layer(*vision_layer(config, NORMS, bias=config.flag("qkv_bias")), repeat=layers)
    body = (Block("embedding", (projection, *free)), stack)
    last = Block("norm", (norm("layernorm", hidden),))
    heads = tuple(
        Block(
            name,
            (
                Linear("layer_0", hidden, hidden, True),
                Activation("act_0", hidden, "relu"),
                Linear("layer_1", hidden, hidden, True),
                Activation("act_1", hidden, "relu"),
                Linear("layer_2", hidden, outputs, True),
            ),
            stream=fixed(found),
        )
        for name, outputs in (
            ("class_labels_classifier", labels(config) + 1),
            ("bbox_predictor", 4),
        )
    )
    pool = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "ForObjectDetection": heads,
        "Model": (Block("pooler", (pool, Activation("tanh", hidden, "tanh")), stream=fixed(1)),),
    }
    return image_model(config, placed((*body, last), fixed(seen)), tops, "ForObjectDetection")


FAMILIES = {
    "yolos": yolos,
}
