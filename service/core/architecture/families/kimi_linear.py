"""Kimi delta attention in most layers, latent attention in some.

kimi_linear (Kimi Team 2025, arXiv 2510.26692), bailing_hybrid. Defaults are those of transformers
5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.dense import swiglu
from service.core.architecture.families.experts import experts, marked, several_shared
from service.core.architecture.families.latent import latent, latent_attention
from service.core.architecture.families.linear_attention import LINEAR, stacked
from service.core.architecture.families.mixers import Delta, delta_scan, depthwise
from service.core.architecture.families.trunk import (
    FULL,
    read,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm
from service.core.architecture.tree import Block

KIMI = {
    "vocab_size": 163840,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "moe_intermediate_size": 1024,
    "num_hidden_layers": 27,
    "num_attention_heads": 32,
    "n_shared_experts": 1,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "num_experts_per_tok": 8,
    "num_local_experts": 256,
    "hidden_act": "silu",
    "linear_head_dim": 128,
    "linear_num_heads": 32,
    "linear_conv_kernel_dim": 4,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 1048576,
}
KIMI_NAMES = {
    "model_max_length": "max_position_embeddings",
    "num_experts": "num_local_experts",
    "num_experts_per_token": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
}
BAILING = {name: value for name, value in KIMI.items() if not name.startswith("linear_")} | {
    "vocab_size": 157184,
    "hidden_size": 2560,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 42,
    "num_local_experts": 512,
    "head_dim": 128,
    "short_conv_kernel_size": 4,
    "layer_group_size": 6,
    "first_k_dense_replace": 2,
    "max_position_embeddings": 262144,
}


def kimi_linear(config: Config) -> Network:
    """KimiLinearForCausalLM: delta attention with a decay a channel, and latent attention."""
    config = read(config, KIMI, KIMI_NAMES)
    inside = config.section("linear_attn_config")
    renamed = {
        "head_dim": "linear_head_dim",
        "num_heads": "linear_num_heads",
        "short_conv_kernel_size": "linear_conv_kernel_dim",
    }
    found = {own: inside.data[name] for name, own in renamed.items() if name in inside.data}
    config = Config({**config.data, **found}, config.defaults, config.path)
    shared = several_shared(config)
    moe = experts(config, count="num_local_experts", shared=shared)
    mixers = {LINEAR: _kimi_delta(config), FULL: latent_attention(latent(config))}
    dense = config.integer("first_k_dense_replace", 0)
    feeds = (swiglu(config), moe)
    pattern = _kimi_pattern(config, inside)
    return stacked(config, mixers, feeds, marked(config, dense), pattern, ties=False)


def _kimi_pattern(config: Config, inside: Config) -> Callable[[int], str]:
    """Layer numbers in a published config count from 1."""
    if "full_attn_layers" not in inside.data or "kda_layers" not in inside.data:
        return lambda index: FULL if index and index % 4 == 0 else LINEAR
    full, linear = inside.indices("full_attn_layers"), inside.indices("kda_layers")
    layers = set(range(1, config.layers("num_hidden_layers") + 1))
    if full | linear != layers or full & linear:
        raise ConfigError(inside.where("kda_layers"), "each layer must stand in one of the lists")
    return lambda index: FULL if index + 1 in full else LINEAR


def _kimi_delta(config: Config) -> Block:
    hidden, heads = config.integer("hidden_size"), config.integer("linear_num_heads")
    head, kernel = config.integer("linear_head_dim"), config.integer("linear_conv_kernel_dim")
    sizes = Delta(hidden, heads, heads, head, head, kernel)
    width = sizes.values
    children: Children = (
        Linear("q_proj", hidden, width, split="column"),
        Linear("k_proj", hidden, width, split="column", keeps_input=False),
        Linear("v_proj", hidden, width, split="column", keeps_input=False),
        depthwise(3 * width, kernel, False),
        Linear("f_a_proj", hidden, head, keeps_input=False),
        Linear("f_b_proj", head, width, split="column"),
        Linear("b_proj", hidden, heads, split="column", keeps_input=False),
        delta_scan(sizes, ((width,), (1, 1, heads, 1))),
        Linear("g_a_proj", hidden, head, keeps_input=False),
        Linear("g_b_proj", head, width, split="column"),
        Norm("o_norm", head, copies=heads),
        Linear("o_proj", width, hidden, split="row"),
    )
    return Block("linear_attn", children)


def bailing_hybrid(config: Config) -> Network:
    """BailingHybridForCausalLM: Kimi Linear's mixers without their low ranks, a gate each."""
    config = read(config, BAILING, KIMI_NAMES)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    many = config.optional("linear_num_heads", 1) or heads
    head = config.optional("linear_head_dim", 1) or config.integer("head_dim")
    kernel = config.optional("linear_conv_kernel_dim", 1) or config.integer(
        "short_conv_kernel_size"
    )
    sizes = Delta(hidden, many, many, head, head, kernel)
    width = sizes.values
    linear: Children = (
        Linear("q_proj", hidden, width, split="column"),
        Linear("k_proj", hidden, width, split="column", keeps_input=False),
        Linear("v_proj", hidden, width, split="column", keeps_input=False),
        depthwise(3 * width, kernel, False),
        Linear("f_proj", hidden, width, split="column", keeps_input=False),
        Linear("b_proj", hidden, many, split="column", keeps_input=False),
        delta_scan(sizes, ((width,), (many,))),
        Norm("o_norm", head, copies=many),
        Linear("g_proj", hidden, width, split="column", keeps_input=False),
        Linear("o_proj", width, hidden, split="row"),
    )
    full = latent_attention(replace(latent(config), query_rank=None))
    gate = Linear("g_proj", hidden, heads, split="column", keeps_input=False)
    mixers = {
        LINEAR: Block("linear_attn", linear),
        FULL: replace(full, children=(*full.children, gate)),
    }
    moe = experts(config, count="num_local_experts", shared=several_shared(config))
    which = marked(config, config.integer("first_k_dense_replace", 0))
    group = config.integer("layer_group_size")

    def kind(index: int) -> str:
        return LINEAR if (index + 1) % group else FULL

    return stacked(config, mixers, (swiglu(config), moe), which, kind, ties=False)


FAMILIES = {"bailing_hybrid": bailing_hybrid, "kimi_linear": kimi_linear}
