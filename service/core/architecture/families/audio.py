"""Encoders of raw sound: convolutions over samples, then a transformer over frames.

wav2vec2 (Baevski et al. 2020, arXiv 2006.11477), hubert (2106.07447), wavlm (2110.13900), sew
(2109.06870), wav2vec2-conformer (2010.05171), unispeech (2101.07597), unispeech-sat (2110.05752),
data2vec-audio (2202.03555). A sample is ten seconds of sound at 16 kHz: the config names no
length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.core.architecture.families.audio_layers import conformer, gated, plain
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.pictures import stages
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Norm,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

SAMPLES = 160_000

NOTE = "each sample is ten seconds of sound at 16 kHz"

WAV2VEC2 = {
    "vocab_size": 32,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
    "num_codevectors_per_group": 320,
    "num_codevector_groups": 2,
    "codevector_dim": 256,
    "proj_codevector_dim": 256,
    "classifier_proj_size": 256,
    "adapter_kernel_size": 3,
    "adapter_stride": 2,
    "num_adapter_layers": 3,
    "output_hidden_size": None,
}

SEW = WAV2VEC2 | {
    "squeeze_factor": 2,
    "conv_dim": [64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512],
    "conv_stride": [5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1],
    "conv_kernel": [10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1],
}

CONFORMER = WAV2VEC2 | {
    "vocab_size": None,
    "position_embeddings_type": "relative",
    "conv_depthwise_kernel_size": 31,
}

DATA2VEC = WAV2VEC2 | {
    "feat_extract_norm": "layer",
    "num_conv_pos_embeddings": 5,
    "conv_pos_kernel_size": 19,
}


Layers = Callable[[Config], Children]


@dataclass(frozen=True)
class _Member:
    """What differs between the members."""

    defaults: Mapping[str, Any]
    layers: Layers
    classes: frozenset[str]
    always_masked: bool = False
    quantized: bool = False


_CLASSES = frozenset(("Model", "ForCTC", "ForSequenceClassification"))

_FRAMES = _CLASSES | {"ForAudioFrameClassification"}


def _features(config: Config) -> tuple[tuple[Block, ...], int]:
    """The convolutions over the samples, and the number of frames that they leave."""
    kind = config.text("feat_extract_norm")
    if kind not in ("group", "layer"):
        raise refuse(config, "feat_extract_norm", "group, layer")
    bias, act = config.flag("conv_bias"), config.text("feat_extract_activation")
    length, inputs = SAMPLES, 1
    blocks: list[Block] = []
    steps = stages(config, "conv_dim", "conv_kernel", "conv_stride")
    for index, (width, kernel, stride) in enumerate(steps):
        length = max(1, (length - kernel) // stride + 1)
        parts: list[Operator] = [
            Convolution("conv", inputs, width, (kernel,), bias=bias, input_positions=float(stride))
        ]
        if kind == "layer":
            parts.append(norm("layer_norm", width))
        elif index == 0:
            parts.append(Norm("layer_norm", width, "group", bias=True))
        parts.append(Activation("activation", width, act))
        blocks.append(Block("feature_extractor", tuple(parts), stream=fixed(float(length))))
        inputs = width
    return tuple(blocks), length


def _projection(config: Config, squeezed: bool) -> Block:
    """The norm of the features and their projection to the hidden width."""
    hidden, inputs = config.integer("hidden_size"), stages(config, "conv_dim")[-1][0]
    parts: list[Operator] = []
    if config.flag("feat_proj_layer_norm"):
        parts.append(norm("layer_norm", inputs))
    if not squeezed or inputs != hidden:
        parts.append(Linear("projection", inputs, hidden, True))
    return Block("feature_projection", tuple(parts))


def _places(config: Config, squeeze: int = 1) -> Block:
    """Positions from a grouped convolution, whose weight is normalised or batch-normalised."""
    hidden, kernel = config.integer("hidden_size"), config.integer("num_conv_pos_embeddings")
    groups = config.integer("num_conv_pos_embedding_groups")
    if hidden % groups:
        raise refuse(config, "num_conv_pos_embedding_groups", "a divisor of hidden_size")
    act = Activation("activation", hidden, config.text("feat_extract_activation"))
    if config.get("conv_pos_kernel_size") is not None:
        size = config.integer("conv_pos_kernel_size")
        convolution = Convolution("conv", hidden, hidden, (size,), groups)
        plain = Norm("layer_norm", hidden, "layer", weight=False)
        return Block("pos_conv_embed", (convolution, plain, act), repeat=kernel)
    convolution = Convolution(
        "conv", hidden, hidden, (kernel,), groups, input_positions=float(squeeze)
    )
    scale: Operator = Parameter("weight_norm", (1, 1, kernel))
    if config.flag("conv_pos_batch_norm"):
        scale = Norm("batch_norm", hidden, "batch", bias=True)
    return Block("pos_conv_embed", (scale, convolution, act))


def _adapter(config: Config) -> Children:
    """Strided convolutions after the encoder."""
    hidden = config.integer("hidden_size")
    width = config.optional("output_hidden_size", 1) or hidden
    found: list[Block | Operator] = []
    if width != hidden:
        found += [Linear("proj", hidden, width, True), norm("proj_layer_norm", width)]
    stride = config.integer("adapter_stride")
    convolution = Convolution(
        "conv", width, 2 * width, (config.integer("adapter_kernel_size"),),
        input_positions=float(stride),
    )  # fmt: skip
    act = Activation("glu", width, "glu", gated=True)
    found += [convolution, act] * config.layers("num_adapter_layers")
    return (Block("adapter", tuple(found)),)


def _tops(config: Config, member: _Member, width: int) -> dict[str, Children]:
    hidden, count = config.integer("hidden_size"), config.layers("num_hidden_layers")
    weighed = config.flag("use_weighted_layer_sum")
    layers = (Parameter("layer_weights", (count + 1,)),) if weighed else ()
    small = config.integer("classifier_proj_size")
    projector = Linear("projector", hidden, small, True)
    classes = Linear("classifier", small, labels(config), True)
    rows = config.rows("vocab_size") if config.get("vocab_size") is not None else 0
    frames = Linear("classifier", hidden, labels(config), True)
    found: dict[str, Children] = {
        "Model": (),
        "ForSequenceClassification": (Block("head", (*layers, projector, classes)),),
        "ForAudioFrameClassification": (Block("head", (*layers, frames)),),
    }
    if rows:
        found["ForCTC"] = (Block("head", (Linear("lm_head", width, rows, True),)),)
    tops = {name: parts for name, parts in found.items() if name in member.classes}
    return tops | ({"ForPreTraining": _quantizer(config)} if member.quantized else {})


def _quantizer(config: Config) -> Children:
    """What stands on the encoder in pre-training: codes of the features, both projected."""
    groups, each = (
        config.integer("num_codevector_groups"),
        config.integer("num_codevectors_per_group"),
    )
    code, shared = config.integer("codevector_dim"), config.integer("proj_codevector_dim")
    inputs = stages(config, "conv_dim")[-1][0]
    parts = (
        Parameter("codevectors", (1, groups * each, code // groups)),
        Linear("weight_proj", inputs, groups * each, True),
        Linear("project_hid", config.integer("hidden_size"), shared, True),
        Linear("project_q", code, shared, True),
    )
    return (Block("head", parts),)


def _build(config: Config, member: _Member) -> Network:
    config = read(config, member.defaults)
    hidden = config.integer("hidden_size")
    features, frames = _features(config)
    masks = ("mask_time_prob", "mask_feature_prob")
    masked = member.always_masked or any(config.number(name, 0.0, 1.0) > 0 for name in masks)
    free: Children = (Parameter("masked_spec_embed", (hidden,)),) if masked else ()
    squeeze = config.integer("squeeze_factor") if "squeeze_factor" in member.defaults else 1
    inner = fixed(float(max(1, frames // squeeze)))
    projection = _projection(config, "squeeze_factor" in member.defaults)
    body = (
        _places(config, squeeze),
        Block("norm", (norm("layer_norm", hidden),)),
        *member.layers(config),
    )
    placed = tuple(replace(b, stream=inner) for b in body if isinstance(b, Block))
    after: Children = ()
    if "squeeze_factor" in member.defaults:
        after = (Block("upsample", (Linear("projection", hidden, hidden * squeeze, True),)),)
        after = tuple(replace(b, stream=inner) for b in after if isinstance(b, Block))
    width = hidden
    if config.flag("add_adapter"):
        after = (*after, *_adapter(config))
        width = config.optional("output_hidden_size", 1) or hidden
    top = on_top(config, _tops(config, member, width), "Model")
    ends = tuple(
        replace(b, stream=b.stream or fixed(float(frames)))
        for b in (projection, *after, *top)
        if isinstance(b, Block)
    )
    parts = (*free, *features, ends[0], *placed, *ends[1:])
    network = encoder(config, hidden, parts, tokens=False)
    return replace(network, vocabulary=0, notes=(NOTE,))


def _family(member: _Member) -> Callable[[Config], Network]:
    return lambda config: _build(config, member)


FAMILIES = {
    "data2vec-audio": _family(_Member(DATA2VEC, plain, _FRAMES)),
    "hubert": _family(_Member(WAV2VEC2, plain, _CLASSES)),
    "sew": _family(_Member(SEW, plain, _CLASSES)),
    "unispeech": _family(_Member(WAV2VEC2, plain, _CLASSES)),
    "unispeech-sat": _family(_Member(WAV2VEC2, plain, _FRAMES, always_masked=True)),
    "wav2vec2": _family(_Member(WAV2VEC2, plain, _FRAMES, quantized=True)),
    "wav2vec2-conformer": _family(_Member(CONFORMER, conformer, _FRAMES, quantized=True)),
    "wavlm": _family(_Member(WAV2VEC2, gated, _FRAMES)),
}
