"""The transformer layers of encoders of sound: plain, gated positions, Conformer.

wav2vec2 (Baevski et al. 2020, arXiv 2006.11477), wavlm (2110.13900), conformer (2005.08100).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.trunk import probability, refuse, unmasked
from service.core.architecture.operators import Activation, Convolution, Linear, Norm, Parameter
from service.core.architecture.tree import Block


def _shape(config: Config, **changes: Any) -> AttentionShape:
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    shape = unmasked(
        config,
        hidden,
        heads,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=probability(config, "hidden_dropout"),
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )
    return replace(shape, **changes)


def _mlp(config: Config, name: str = "feed_forward") -> Block:
    return plain_mlp(
        config.integer("hidden_size"),
        config.integer("intermediate_size"),
        config.text("hidden_act"),
        names=("intermediate_dense", "output_dense"),
        dropout=probability(config, "hidden_dropout"),
        name=name,
        inner_dropout=probability(config, "activation_dropout"),
    )


def _layer(config: Config, block: Block) -> Children:
    hidden = config.integer("hidden_size")
    return (block, norm("layer_norm", hidden), _mlp(config), norm("final_layer_norm", hidden))


def plain(config: Config) -> Children:
    """wav2vec2's layer; a norm before or after each half."""
    if config.get("adapter_attn_dim") is not None:
        raise refuse(config, "adapter_attn_dim", "null")
    children = _layer(config, attention(_shape(config)))
    return (layer(*children, repeat=config.layers("num_hidden_layers")),)


def gated(config: Config) -> Children:
    """WavLM: relative positions that a gate weighs; their table stands in the first layer."""
    shape = _shape(config)
    heads, buckets = shape.heads, Config(config.data, {"num_buckets": 320}).rows("num_buckets")
    gate = (
        Parameter("gru_rel_pos_const", (1, heads, 1, 1)),
        Linear("gru_rel_pos_linear", shape.head_dim, 8, True),
    )
    table = Parameter("rel_attn_embed", (buckets, heads))
    count = config.layers("num_hidden_layers")
    first = _layer(config, attention(replace(shape, extra=(*gate, table))))
    others = _layer(config, attention(replace(shape, extra=gate)))
    return (layer(*first), layer(*others, repeat=count - 1))[: min(count, 2)]


def conformer(config: Config) -> Children:
    """Two halves of a feed-forward around attention and a convolution (arXiv 2005.08100)."""
    shape = _shape(config, names=("linear_q", "linear_k", "linear_v", "linear_out"))
    hidden, kind = shape.hidden, config.get("position_embeddings_type")
    if kind not in ("relative", "rotary", None):
        raise refuse(config, "position_embeddings_type", "relative, rotary, null")
    extra: Children = ()
    if kind == "relative":
        biases = (Parameter(f"pos_bias_{x}", (shape.heads, shape.head_dim)) for x in "uv")
        extra = (Linear("linear_pos", hidden, hidden), *biases)
    own = attention(replace(shape, extra=extra, rotary=kind == "rotary"))
    kernel = config.integer("conv_depthwise_kernel_size")
    act = config.text("hidden_act")
    convolution = Block(
        "conv_module",
        (
            norm("layer_norm", hidden),
            Linear("pointwise_conv1", hidden, 2 * hidden),
            Activation("glu", hidden, "glu", gated=True),
            Convolution("depthwise_conv", hidden, hidden, (kernel,), hidden, bias=False),
            Norm("batch_norm", hidden, "batch", bias=True),
            Activation("activation", hidden, act),
            Linear("pointwise_conv2", hidden, hidden),
            *dropped(hidden, probability(config, "conformer_conv_dropout")),
        ),
    )
    children = (
        norm("ffn1_layer_norm", hidden),
        _mlp(config, "ffn1"),
        norm("self_attn_layer_norm", hidden),
        own,
        convolution,
        norm("ffn2_layer_norm", hidden),
        _mlp(config, "ffn2"),
        norm("final_layer_norm", hidden),
    )
    return (layer(*children, repeat=config.layers("num_hidden_layers")),)
