"""Vision transformers trained on images with patches left out.

vit_mae (He et al. 2021, arXiv 2111.06377), vit_msn (2204.07141).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import sizes
from service.core.architecture.families.trunk import read
from service.core.architecture.families.vision_transformer import (
    VIT,
    image_classes,
    image_model,
    patch_projection,
    patches,
    placed,
    vit_body,
    vit_layers,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

VIT_MAE = VIT | {
    "decoder_num_attention_heads": 16,
    "decoder_hidden_size": 512,
    "decoder_num_hidden_layers": 8,
    "decoder_intermediate_size": 2048,
}


def vit_mae(config: Config) -> Network:
    """ViTMAEForPreTraining: a small decoder paints what the encoder did not see."""
    config = read(config, VIT_MAE)
    hidden, count = config.integer("hidden_size"), patches(config)
    narrow = config.integer("decoder_hidden_size")
    names = ("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers")
    given = {name: config.integer(f"decoder_{name}", 0) for name in names}
    inner = Config({**config.data, **given}, config.defaults, config.path)
    patch = sizes(config, "patch_size")
    pixels = patch[0] * patch[1] * config.integer("num_channels")
    decoder: Children = (
        Block(
            "projector",
            (
                Linear("decoder_embed", hidden, narrow, True),
                Parameter("mask_token", (1, 1, narrow)),
                Parameter("decoder_pos_embed", (1, count + 1, narrow)),
            ),
        ),
        vit_layers(inner),
        Block("head", (norm("decoder_norm", narrow), Linear("decoder_pred", narrow, pixels, True))),
    )
    tops: Mapping[str, Children] = {
        "ForPreTraining": placed(decoder, fixed(count + 1)),
        "Model": (),
    }
    body = vit_body(config, patch_projection(config, hidden), count)
    return image_model(config, body, tops, "ForPreTraining")


def vit_msn(config: Config) -> Network:
    """ViTMSNModel, ViTMSNForImageClassification."""
    config = read(config, VIT)
    body = vit_body(
        config, patch_projection(config, config.integer("hidden_size")), patches(config)
    )
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForImageClassification": (image_classes(config),),
    }
    return image_model(config, body, tops, "Model")


FAMILIES = {
    "vit_mae": vit_mae,
    "vit_msn": vit_msn,
}
