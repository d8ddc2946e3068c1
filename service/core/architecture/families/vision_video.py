"""Vision transformers over the frames of a video.

timesformer (Bertasius et al. 2021, arXiv 2102.05095), vivit (2103.15691), videomae (2203.12602).
A sample is one video of the configuration's size. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import AttentionShape, Children, attention, layer
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.pictures import sizes
from service.core.architecture.families.trunk import head_width, read, refuse
from service.core.architecture.families.vision_transformer import (
    NORMS,
    VIT,
    image_classes,
    image_model,
    keyless,
    patch_projection,
    patches,
    placed,
    vision_layer,
    vit_body,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

VIDEOMAE = VIT | {
    "num_frames": 16,
    "tubelet_size": 2,
    "qv_bias": True,
    "use_mean_pooling": True,
    "decoder_num_attention_heads": 6,
    "decoder_hidden_size": 384,
    "decoder_num_hidden_layers": 4,
    "decoder_intermediate_size": 1536,
}

TIMESFORMER = VIT | {"num_frames": 8, "attention_type": "divided_space_time"}

VIVIT = VIT | {"hidden_act": "gelu_fast", "num_frames": 32, "tubelet_size": [2, 16, 16]}


def _video_layer(config: Config) -> Children:
    before, own, after, mlp = vision_layer(config, NORMS, bias=config.flag("qv_bias"))
    return before, keyless(own), after, mlp


def videomae(config: Config) -> Network:
    """VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel."""
    config = read(config, VIDEOMAE)
    hidden = config.integer("hidden_size")
    patch, tube = sizes(config, "patch_size"), config.integer("tubelet_size")
    count = patches(config) * (config.integer("num_frames") // tube)
    channels = config.integer("num_channels")
    pixels = tube * patch[0] * patch[1]
    projection = Convolution(
        "projection", channels, hidden, (tube, *patch), input_positions=float(pixels)
    )
    stack = layer(*_video_layer(config), repeat=config.layers("num_hidden_layers"))
    mean = config.flag("use_mean_pooling")
    last = () if mean else (Block("norm", (norm("layernorm", hidden),)),)
    inner = Config(
        {
            **config.data,
            "hidden_size": config.integer("decoder_hidden_size"),
            "num_attention_heads": config.integer("decoder_num_attention_heads"),
            "intermediate_size": config.integer("decoder_intermediate_size"),
        },
        config.defaults,
        config.path,
    )
    narrow = config.integer("decoder_hidden_size")
    decoder: Children = (
        Block(
            "projector",
            (Linear("encoder_to_decoder", hidden, narrow), Parameter("mask_token", (1, 1, narrow))),
        ),
        layer(*_video_layer(inner), repeat=config.layers("decoder_num_hidden_layers")),
        Block("head", (norm("norm", narrow), Linear("head", narrow, channels * pixels, True))),
    )
    pooled = (Block("norm", (norm("fc_norm", hidden),), stream=fixed(1)),) if mean else ()
    tops: Mapping[str, Children] = {
        "ForPreTraining": placed(decoder, fixed(count)),
        "ForVideoClassification": (*pooled, image_classes(config)),
        "Model": (),
    }
    body = placed((Block("embedding", (projection,)), stack, *last), fixed(count))
    return image_model(config, body, tops, "ForPreTraining")


def timesformer(config: Config) -> Network:
    """TimesformerForVideoClassification: attention over time, then over space."""
    config = read(config, TIMESFORMER)
    kind = config.text("attention_type")
    if kind not in ("divided_space_time", "space_only", "joint_space_time"):
        raise refuse(config, "attention_type", "divided_space_time, space_only, joint_space_time")
    hidden, count, frames = (
        config.integer("hidden_size"),
        patches(config),
        config.integer("num_frames"),
    )
    heads, bias = config.integer("num_attention_heads"), config.flag("qkv_bias")
    seen = count * frames + 1
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=bias,
        output_bias=True,
        rotary=False,
        causal=False,
        fused="qkv",
        keys=fixed(float(seen if kind == "joint_space_time" else count + 1)),
        names=("", "", "", "dense"),
    )
    before, _, after, mlp = vision_layer(config, NORMS)
    temporal: Children = ()
    if kind == "divided_space_time":
        over_time = attention(replace(shape, keys=fixed(float(frames))))
        dense = Linear("temporal_dense", hidden, hidden, True)
        temporal = (norm("temporal_layernorm", hidden), over_time, dense)
    children = (*temporal, before, attention(shape), after, mlp)
    free = [
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("position_embeddings", (1, count + 1, hidden)),
    ]
    if kind != "space_only":
        free.append(Parameter("time_embeddings", (1, frames, hidden)))
    projection = Block("patches", (patch_projection(config, hidden),), stream=fixed(count * frames))
    body = (
        Block("embedding", (projection, *free)),
        layer(*children, repeat=config.layers("num_hidden_layers")),
        Block("norm", (norm("layernorm", hidden),)),
    )
    tops: Mapping[str, Children] = {
        "ForVideoClassification": (image_classes(config),),
        "Model": (),
    }
    return image_model(config, placed(body, fixed(seen)), tops, "ForVideoClassification")


def vivit(config: Config) -> Network:
    """VivitForVideoClassification: a ViT over tubes of pixels."""
    config = read(config, VIVIT)
    hidden, image = config.integer("hidden_size"), sizes(config, "image_size")
    tube = config.sequence("tubelet_size", 3)
    if len(tube) != 3:
        raise ConfigError(config.where("tubelet_size"), "tubelet_size must hold three sizes")
    named = Config({str(i): n for i, n in enumerate(tube)}, path=config.where("tubelet_size"))
    time, down, across = (named.integer(str(i)) for i in range(3))
    count = (config.integer("num_frames") // time) * (image[0] // down) * (image[1] // across)
    if not count:
        raise ConfigError(config.where("tubelet_size"), "tubelet_size is larger than the video")
    projection = Convolution(
        "projection", config.integer("num_channels"), hidden, (time, down, across),
        input_positions=float(time * down * across),
    )  # fmt: skip
    pooled = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "ForVideoClassification": (image_classes(config),),
        "Model": (Block("pooler", (pooled, Activation("tanh", hidden, "tanh")), stream=fixed(1)),),
    }
    return image_model(config, vit_body(config, projection, count), tops, "ForVideoClassification")


FAMILIES = {
    "timesformer": timesformer,
    "videomae": videomae,
    "vivit": vivit,
}
