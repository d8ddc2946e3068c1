"""Decoders with linear attention in most layers and full attention in some.

qwen3_next and qwen3_5 (Qwen 2025; gated delta networks, arXiv 2412.06464), minimax (2501.08313;
lightning attention), olmo_hybrid. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention
from service.core.architecture.families.dense import biased, post_norm, pre_norm, swiglu
from service.core.architecture.families.experts import experts
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.mixers import Delta, delta
from service.core.architecture.families.mixtral import LOCAL, MIXTRAL
from service.core.architecture.families.qwen_moe import gated_shared, stepped
from service.core.architecture.families.trunk import (
    FULL,
    causal_lm,
    grouped,
    kinds,
    read,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Linear, Norm, Scan
from service.core.architecture.tree import Block

LINEAR = "linear_attention"
QWEN3_5 = LLAMA | {
    "vocab_size": 248320,
    "intermediate_size": 12288,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "full_attention_interval": 4,
    "max_position_embeddings": 32768,
}
QWEN3_5_MOE = QWEN3_5 | {
    "hidden_size": 2048,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 256,
    "num_experts_per_tok": 8,
}
QWEN3_NEXT = QWEN3_5_MOE | {
    "vocab_size": 151936,
    "intermediate_size": 5632,
    "num_hidden_layers": 48,
    "decoder_sparse_step": 1,
    "num_experts": 512,
    "num_experts_per_tok": 10,
}
OLMO = LLAMA | {
    "vocab_size": 100352,
    "hidden_size": 3840,
    "num_attention_heads": 30,
    "linear_conv_kernel_dim": 4,
    "max_position_embeddings": 65536,
}
CHUNK = 256


def stacked(
    config: Config,
    mixers: Mapping[str, Block],
    feeds: tuple[Block, Block],
    which: Sequence[bool],
    default: Callable[[int], str],
    **frame: Any,
) -> Network:
    """Layers that differ in mixer and in feed-forward (dense, mixture)."""
    hidden = config.integer("hidden_size")
    norm = Norm("norm", hidden)
    found = kinds(config, default, tuple(mixers))

    def make(kind: tuple[str, bool]) -> Children:
        return pre_norm(norm, mixers[kind[0]], feeds[kind[1]])

    layers = runs(list(zip(found, which, strict=True)), make)
    return causal_lm(config, hidden, layers, norm, **frame)


def _interval(config: Config) -> Callable[[int], str]:
    full = config.integer("full_attention_interval")
    return lambda index: LINEAR if (index + 1) % full else FULL


def _delta_sizes(config: Config) -> Delta:
    return Delta(
        config.integer("hidden_size"),
        config.integer("linear_num_key_heads"),
        config.integer("linear_num_value_heads"),
        config.integer("linear_key_head_dim"),
        config.integer("linear_value_head_dim"),
        config.integer("linear_conv_kernel_dim"),
    )


def _qwen_mixers(config: Config, fused: bool) -> Mapping[str, Block]:
    full = attention(biased(config, head_norm=Norm("norm", 0), gate=True))
    sizes = _delta_sizes(config)
    mixed, heads = 2 * sizes.keys + sizes.values, sizes.value_heads
    outputs = (
        (("in_proj_qkvz", mixed + sizes.values), ("in_proj_ba", 2 * heads))
        if fused
        else (
            ("in_proj_qkv", mixed),
            ("in_proj_z", sizes.values),
            ("in_proj_b", heads),
            ("in_proj_a", heads),
        )
    )
    projections = tuple(
        Linear(name, sizes.hidden, width, split="column", keeps_input=index == 0)
        for index, (name, width) in enumerate(outputs)
    )
    return {LINEAR: delta(sizes, projections), FULL: full}


def qwen3_next(config: Config) -> Network:
    """Qwen3NextForCausalLM: three gated delta networks to one gated attention."""
    config = read(config, QWEN3_NEXT, {"num_local_experts": "num_experts"})
    moe = experts(config, shared=gated_shared(config))
    feeds = (swiglu(config), moe)
    return stacked(config, _qwen_mixers(config, True), feeds, stepped(config), _interval(config))


def qwen3_5(config: Config) -> Network:
    """Qwen3_5ForCausalLM: the same mixers with a dense feed-forward."""
    config = read(config, QWEN3_5)
    mlp, which = swiglu(config), [False] * config.layers("num_hidden_layers")
    return stacked(config, _qwen_mixers(config, False), (mlp, mlp), which, _interval(config))


def qwen3_5_moe(config: Config) -> Network:
    """Qwen3_5MoeForCausalLM: the same mixers with a mixture in every layer."""
    config = read(config, QWEN3_5_MOE, {"num_local_experts": "num_experts"})
    moe = experts(config, shared=gated_shared(config))
    which = [True] * config.layers("num_hidden_layers")
    return stacked(config, _qwen_mixers(config, False), (moe, moe), which, _interval(config))


def minimax(config: Config) -> Network:
    """MiniMaxForCausalLM: lightning attention in every other layer, a mixture in all."""
    config = read(config, MIXTRAL, LOCAL)
    shape = grouped(config, window=window(config))
    width = shape.heads * shape.head_dim
    state = float(shape.heads * shape.head_dim**2)
    flops = 2.0 * width * (2 * CHUNK + 2 * shape.head_dim)
    children: Children = (
        Linear("qkv_proj", shape.hidden, 3 * width, split="column"),
        Scan("scan", "linear_attention", width, state, flops),
        Norm("norm", width),
        Linear("output_gate", shape.hidden, width, split="column", keeps_input=False),
        Activation("gate", width, "sigmoid", gated=True),
        Linear("out_proj", width, shape.hidden, split="row"),
    )
    mixers = {LINEAR: Block("linear_attn", children), FULL: attention(shape)}
    moe = experts(config, "intermediate_size", "num_local_experts")
    which = [True] * config.layers("num_hidden_layers")
    return stacked(config, mixers, (moe, moe), which, lambda i: LINEAR if i % 2 else FULL)


def olmo_hybrid(config: Config) -> Network:
    """OlmoHybridForCausalLM: norms before linear attention, after full attention."""
    config = read(config, OLMO)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    key_heads = config.optional("linear_num_key_heads", 1) or heads
    key = config.optional("linear_key_head_dim", 1) or int(0.75 * hidden / key_heads)
    sizes = Delta(
        hidden,
        key_heads,
        config.optional("linear_num_value_heads", 1) or heads,
        key,
        config.optional("linear_value_head_dim", 1) or 2 * key,
        config.integer("linear_conv_kernel_dim"),
    )
    widths = (
        ("q_proj", sizes.keys),
        ("k_proj", sizes.keys),
        ("v_proj", sizes.values),
        ("a_proj", sizes.value_heads),
        ("b_proj", sizes.value_heads),
        ("g_proj", sizes.values),
    )
    projections = tuple(
        Linear(name, hidden, width, split="column", keeps_input=index == 0)
        for index, (name, width) in enumerate(widths)
    )
    linear = delta(sizes, projections, "o_proj")
    full = attention(biased(config, head_norm=Norm("norm", 0), whole_norm=True))
    norm, mlp = Norm("norm", hidden), swiglu(config)
    found = kinds(config, _olmo_pattern(config), (LINEAR, FULL))

    def make(kind: str) -> Children:
        return pre_norm(norm, linear, mlp) if kind == LINEAR else post_norm(norm, full, mlp)

    return causal_lm(config, hidden, runs(found, make), norm)


def _olmo_pattern(config: Config) -> Callable[[int], str]:
    layers = config.layers("num_hidden_layers")
    return lambda index: FULL if index % 4 == 3 or (layers < 4 and index == layers - 1) else LINEAR


FAMILIES = {
    "minimax": minimax,
    "olmo_hybrid": olmo_hybrid,
    "qwen3_5_moe_text": qwen3_5_moe,
    "qwen3_5_text": qwen3_5,
    "qwen3_next": qwen3_next,
}
