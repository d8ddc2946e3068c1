"""Qwen's vision-language models: patches of any number of frames, merged four to one.

qwen2_vl (Wang et al. 2024, arXiv 2409.12191), qwen2_5_vl (2502.13923), qwen3_vl (2511.21631) with
and without experts, qwen3_5. Images may have any size, so the config names none: a sample brings
one image of 448 x 448 pixels. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.multimodal import decoder, joined
from service.core.architecture.families.trunk import head_width, read, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Embedding,
    Linear,
    Norm,
    Operator,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

IMAGE_SIZE = 448
NOTE = f"each sample brings one image of {IMAGE_SIZE} x {IMAGE_SIZE} pixels"

_QWEN2_TEXT = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_window_layers": 80,
}
_QWEN3_TEXT = {"model_type": "qwen3", "num_key_value_heads": 32, "head_dim": 128}
_QWEN3_MOE_TEXT = {
    "model_type": "qwen3_moe",
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 1408,
    "num_experts_per_tok": 4,
    "num_experts": 60,
}
QWEN2_VISION = {
    "depth": 32,
    "embed_dim": 1280,
    "hidden_size": 3584,
    "hidden_act": "quick_gelu",
    "mlp_ratio": 4,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
QWEN2_5_VISION = QWEN2_VISION | {
    "hidden_act": "silu",
    "intermediate_size": 3420,
    "window_size": 112,
    "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
QWEN3_VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 4304,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}


def _count(config: Config) -> int:
    """Patches of one image: a whole number of merged squares on each side."""
    square = config.integer("patch_size") * config.integer("spatial_merge_size")
    side = max(1, IMAGE_SIZE // square) * config.integer("spatial_merge_size")
    return side * side


def _patches(config: Config, hidden: int, bias: bool) -> Convolution:
    """A convolution over the frames and pixels of a patch."""
    patch, frames = config.integer("patch_size"), config.integer("temporal_patch_size")
    kernel = (frames, patch, patch)
    pixels = float(frames * patch * patch)
    return Convolution(
        "proj", config.integer("in_channels"), hidden, kernel, bias=bias, input_positions=pixels
    )


def _attention(config: Config, hidden: int, reach: int | None = None) -> Block:
    heads = config.integer("num_heads")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "num_heads"),
        bias=True,
        output_bias=True,
        causal=False,
        fused="qkv",
        keys=fixed(float(reach)) if reach else None,
        names=("", "", "", "proj"),
    )
    return attention(shape)


def _merger(config: Config, width: int, outputs: int, first: Operator, name: str) -> Block:
    """Neighbouring patches, as one vector, through two products."""
    merge = config.integer("spatial_merge_size") ** 2
    parts = (
        Linear("linear_fc1", width * merge, width * merge, True),
        Activation("act", width * merge, "gelu"),
        Linear("linear_fc2", width * merge, outputs, True),
    )
    count = _count(config)
    normed = Block("norm", (first,), stream=fixed(count))
    return Block(name, (normed, *parts), stream=fixed(count / merge))


def _placed(config: Config, blocks: Children) -> Children:
    stream = fixed(_count(config))
    return tuple(replace(b, stream=stream) if isinstance(b, Block) else b for b in blocks)


def qwen2_tower(config: Config) -> Children:
    """Qwen2-VL's tower: LayerNorm, a plain feed-forward."""
    config = read(config, QWEN2_VISION)
    width = config.integer("embed_dim")
    inner = int(width * config.number("mlp_ratio", 0.0, 1e3))
    mlp = plain_mlp(width, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    layers = layer(
        norm("norm1", width),
        _attention(config, width),
        norm("norm2", width),
        mlp,
        repeat=config.layers("depth"),
    )
    outputs = config.integer("hidden_size")
    merger = _merger(config, width, outputs, norm("ln_q", width), "projector")
    patches = Block("vision_embedding", (_patches(config, width, False),))
    return *_placed(config, (patches, layers)), merger


def qwen2_5_tower(config: Config) -> Children:
    """Qwen2.5-VL's tower: RMSNorm, a gated feed-forward, attention within windows."""
    config = read(config, QWEN2_5_VISION)
    width = config.integer("hidden_size")
    full = config.indices("fullatt_block_indexes")
    window = (config.integer("window_size") // config.integer("patch_size")) ** 2
    inner = config.integer("intermediate_size")
    mlp = gated_mlp(width, inner, config.text("hidden_act"), bias=True)

    def make(is_full: bool) -> Children:
        reach = None if is_full else min(window, _count(config))
        block = _attention(config, width, reach)
        return Norm("norm1", width), block, Norm("norm2", width), mlp

    layers = runs([index in full for index in range(config.layers("depth"))], make)
    merger = _merger(
        config, width, config.integer("out_hidden_size"), Norm("ln_q", width), "projector"
    )
    patches = Block("vision_embedding", (_patches(config, width, False),))
    return *_placed(config, (patches, *layers)), merger


def qwen3_tower(config: Config, deep: bool = True) -> Children:
    """Qwen3-VL's tower: learned positions, and features of three depths for the decoder."""
    config = read(config, QWEN3_VISION)
    width, outputs = config.integer("hidden_size"), config.integer("out_hidden_size")
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(width, inner, config.text("hidden_act"), names=("linear_fc1", "linear_fc2"))
    layers = layer(
        norm("norm1", width),
        _attention(config, width),
        norm("norm2", width),
        mlp,
        repeat=config.layers("depth"),
    )
    table = Embedding("pos_embed", config.rows("num_position_embeddings"), width)
    patches = Block("vision_embedding", (_patches(config, width, True), table))
    merger = _merger(config, width, outputs, norm("norm", width), "projector")
    merge = config.integer("spatial_merge_size") ** 2
    after = Norm("norm", width * merge, "layer", bias=True)
    stacked = _merger(config, width, outputs, after, "deepstack")
    stacked = replace(stacked, children=(after, *stacked.children[1:]))
    count = len(config.sequence("deepstack_visual_indexes")) if deep else 0
    mergers = (merger, *((replace(stacked, repeat=count),) if count else ()))
    return *_placed(config, (patches, layers)), *mergers


@dataclass(frozen=True)
class _Member:
    """A tower and what its decoder is where the config is silent."""

    tower: Callable[[Config], Children]
    text: Mapping[str, Any]
    forwards_tie: bool = False


def _build(config: Config, member: _Member) -> Network:
    text = config.data.get("text_config")
    # Published files of the first members keep the decoder's fields at the top.
    outer = ("text_config", "vision_config", "model_type", "architectures", "tie_word_embeddings")
    given = dict(text) if isinstance(text, Mapping) else {}
    if text is None:
        given = {key: value for key, value in config.data.items() if key not in outer}
    held = {key: value for key, value in given.items() if value is not None}
    kind = {"model_type": member.text["model_type"]}
    tied = config.flag("tie_word_embeddings")
    if member.forwards_tie and not tied:
        tied = given.get("tie_word_embeddings") is True
    network = decoder(config, {**member.text, **held, **kind}, tied, "text_config")
    made = joined(config, member.tower(config.section("vision_config")), network)
    return replace(made, notes=(*made.notes, NOTE))


def _family(member: _Member) -> Callable[[Config], Network]:
    return lambda config: _build(config, member)


FAMILIES = {
    "qwen2_vl": _family(_Member(qwen2_tower, _QWEN2_TEXT, True)),
    "qwen2_5_vl": _family(_Member(qwen2_5_tower, _QWEN2_TEXT, True)),
    "qwen3_vl": _family(_Member(qwen3_tower, _QWEN3_TEXT)),
    "qwen3_vl_moe": _family(_Member(qwen3_tower, _QWEN3_MOE_TEXT)),
    "qwen3_5": _family(_Member(lambda c: qwen3_tower(c, False), {"model_type": "qwen3_5_text"})),
    "qwen3_5_moe": _family(
        _Member(lambda c: qwen3_tower(c, False), {"model_type": "qwen3_5_moe_text"})
    ),
}
