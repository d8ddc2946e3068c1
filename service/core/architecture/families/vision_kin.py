"""Transformers over patches beside ViT: other positions, tasks, or frames of a video.

beit (Bao et al. 2021, arXiv 2106.08254), data2vec-vision (2202.03555), yolos (2106.00666), dpt
(2103.13413), videomae (2203.12602), timesformer (2102.05095), audio-spectrogram-transformer
(2104.01778). A sample is one image, clip or recording of the configuration's size. Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import encoder, norm, on_top
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import AttentionShape, Children, attention, layer
from service.core.architecture.families.pictures import sizes, whole_numbers
from service.core.architecture.families.trunk import head_width, labels, read, refuse
from service.core.architecture.families.vision_transformer import (
    VIT,
    patch_projection,
    patches,
    vision_layer,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import Stream, fixed

BEIT = VIT | {
    "layer_scale_init_value": 0.1,
    "use_mean_pooling": True,
    "use_absolute_position_embeddings": False,
}
YOLOS = VIT | {
    "image_size": [512, 864],
    "num_detection_tokens": 100,
    "use_mid_position_embeddings": True,
}
DPT = VIT | {
    "image_size": 384,
    "readout_type": "project",
    "reassemble_factors": [4, 2, 1, 0.5],
    "neck_hidden_sizes": [96, 192, 384, 768],
    "fusion_hidden_size": 256,
}
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
SPECTROGRAM = VIT | {
    "frequency_stride": 10,
    "time_stride": 10,
    "max_length": 1024,
    "num_mel_bins": 128,
    "num_channels": 1,
}
NORMS = ("layernorm_before", "layernorm_after")


def _keyless(block: Block | Operator, name: str = "k_proj") -> Block:
    """Attention whose keys have no bias."""
    assert isinstance(block, Block)
    children = tuple(
        replace(child, bias=False) if isinstance(child, Linear) and child.name == name else child
        for child in block.children
    )
    return replace(block, children=children)


def _placed(blocks: Children, stream: Stream) -> Children:
    return tuple(replace(b, stream=stream) if isinstance(b, Block) else b for b in blocks)


def _classifier(config: Config, name: str = "classifier", width: int | None = None) -> Block:
    hidden = width or config.integer("hidden_size")
    return Block("head", (Linear(name, hidden, labels(config), True),), stream=fixed(1))


def _image(config: Config, parts: Children, tops: Mapping[str, Children], default: str) -> Network:
    top = on_top(config, tops, default)
    return encoder(config, config.integer("hidden_size"), (*parts, *top), tokens=False)


def _beit(config: Config, pooled_model: bool) -> Network:
    config = read(config, BEIT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    down, across = image[0] // patch[0], image[1] // patch[1]
    table = Parameter(
        "relative_position_bias_table", ((2 * down - 1) * (2 * across - 1) + 3, heads)
    )
    before, own, after, mlp = vision_layer(config, NORMS)
    own = _keyless(own)
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
        "ForImageClassification": (*pooler, _classifier(config)),
        "Model": pooler if pooled_model else (),
    }
    default = "ForImageClassification" if pooled_model else "Model"
    return _image(config, _placed(body, fixed(down * across + 1)), tops, default)


def beit(config: Config) -> Network:
    """BeitForImageClassification, BeitModel: relative position biases, scales, no key bias."""
    return _beit(config, pooled_model=True)


def data2vec_vision(config: Config) -> Network:
    """Data2VecVisionModel: BEiT's network."""
    return _beit(config, pooled_model=False)


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
    return _image(config, _placed((*body, last), fixed(seen)), tops, "ForObjectDetection")


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
    return _image(config, _placed(body, fixed(count + 1)), tops, "ForDepthEstimation")


def _video_layer(config: Config) -> Children:
    before, own, after, mlp = vision_layer(config, NORMS, bias=config.flag("qv_bias"))
    return before, _keyless(own), after, mlp


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
        "ForPreTraining": _placed(decoder, fixed(count)),
        "ForVideoClassification": (*pooled, _classifier(config)),
        "Model": (),
    }
    body = _placed((Block("embedding", (projection,)), stack, *last), fixed(count))
    return _image(config, body, tops, "ForPreTraining")


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
        "ForVideoClassification": (_classifier(config),),
        "Model": (),
    }
    return _image(config, _placed(body, fixed(seen)), tops, "ForVideoClassification")


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
    return _image(config, _placed(body, fixed(count + 2)), tops, "ForAudioClassification")


FAMILIES = {
    "audio-spectrogram-transformer": spectrogram,
    "beit": beit,
    "data2vec-vision": data2vec_vision,
    "dpt": dpt,
    "timesformer": timesformer,
    "videomae": videomae,
    "yolos": yolos,
}
