"""Audio spectrogram transformer: a ViT over a spectrogram (Gong et al. 2021, arXiv 2104.01778).

A sample is one spectrogram of the configuration's length.
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.trunk import labels, read
from service.core.architecture.families.vision_transformer import (
    NORMS,
    VIT,
    image_model,
    placed,
    vision_layer,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Convolution, Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

SPECTROGRAM = VIT | {
    "frequency_stride": 10,
    "time_stride": 10,
    "max_length": 1024,
    "num_mel_bins": 128,
    "num_channels": 1,
}


def spectrogram(config: Config) -> Network:
    """ASTForAudioClassification: overlapping patches of a spectrogram."""
    config = read(config, SPECTROGRAM)
    hidden, patch = config.integer("hidden_size"), config.integer("patch_size")
    across = (config.integer("max_length") - patch) // config.integer("time_stride") + 1
    down = (config.integer("num_mel_bins") - patch) // config.integer("frequency_stride") + 1
    if across < 1 or down < 1:
        raise ConfigError(config.where("patch_size"), "patch_size is larger than the spectrogram")
    count = down * across
    free = [Parameter(name, (1, 1, hidden)) for name in ("cls_token", "distillation_token")]
    places = Parameter("position_embeddings", (1, count + 2, hidden))
    projection = Block(
        "patches", (Convolution("projection", 1, hidden, (patch, patch)),), stream=fixed(count)
    )
    stack = vision_layer(config, NORMS, bias=config.flag("qkv_bias"))
    body = (
        Block("embedding", (projection, *free, places)),
        layer(*stack, repeat=config.layers("num_hidden_layers")),
        Block("norm", (norm("layernorm", hidden),)),
    )
    dense = Linear("dense", hidden, labels(config), True)
    head = Block("head", (norm("layernorm", hidden), dense), stream=fixed(1))
    tops: Mapping[str, Children] = {"ForAudioClassification": (head,), "Model": ()}
    return image_model(config, placed(body, fixed(count + 2)), tops, "ForAudioClassification")


FAMILIES = {
    "audio-spectrogram-transformer": spectrogram,
}
