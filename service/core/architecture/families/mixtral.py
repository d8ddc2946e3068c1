"""Mixtures of experts in every layer of a dense line.

mixtral (Jiang et al. 2024, arXiv 2401.04088), olmoe (2409.02060), flex_olmo (2507.07024),
granitemoe and granitemoeshared (Granite 3.0), phimoe (2404.14219), gpt_oss (2508.10925), dbrx
(Databricks 2024), hunyuan_v1_moe (2411.02265), minimax_m2, jetmoe (2404.07413). Defaults are those
of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, Children, gated_mlp, mixture
from service.core.architecture.families.dense import biased, dense, every, post_norm, windows
from service.core.architecture.families.experts import experts, routed, shared_expert
from service.core.architecture.families.hunyuan import hunyuan_moe
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    grouped,
    head_width,
    probability,
    read,
    refuse,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Linear,
    Norm,
    Parameter,
    Rotary,
)
from service.core.architecture.tree import Block, Routing

MIXTRAL = LLAMA | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 131072,
}

OLMOE = LLAMA | {
    "vocab_size": 50304,
    "hidden_size": 2048,
    "intermediate_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 4096,
}

FLEX_OLMO = LLAMA | {
    "vocab_size": 100352,
    "num_experts": 7,
    "num_experts_per_tok": 5,
    "max_position_embeddings": 4096,
}

GRANITE = LLAMA | {"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 128}

PHIMOE = MIXTRAL | {"vocab_size": 32064, "intermediate_size": 6400, "num_local_experts": 16}

GPT_OSS = LLAMA | {
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "attention_bias": True,
    "sliding_window": 128,
    "max_position_embeddings": 131072,
}

MINIMAX_M2 = LLAMA | {
    "vocab_size": 200064,
    "hidden_size": 3072,
    "intermediate_size": 1536,
    "num_hidden_layers": 62,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_local_experts": 256,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 196608,
}

DBRX = {
    "vocab_size": 32000,
    "d_model": 2048,
    "n_heads": 16,
    "n_layers": 24,
    "max_seq_len": 2048,
    "attn_config": {},
    "ffn_config": {},
}

DBRX_FFN = {
    "hidden_size": 6144,
    "ffn_hidden_size": 3584,
    "moe_num_experts": 4,
    "moe_top_k": 1,
}

JETMOE = {
    "vocab_size": 32000,
    "hidden_size": 2048,
    "num_hidden_layers": 12,
    "num_key_value_heads": 16,
    "kv_channels": 128,
    "intermediate_size": 5632,
    "activation_function": "silu",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}

LOCAL = {"num_experts": "num_local_experts"}

COUNTED = {"num_local_experts": "num_experts"}


def mixtral(config: Config) -> Network:
    """MixtralForCausalLM."""
    config = read(config, MIXTRAL, LOCAL)
    moe = experts(config, "intermediate_size", "num_local_experts")
    return dense(config, grouped(config, window=window(config)), moe)


def olmoe(config: Config) -> Network:
    """OlmoeForCausalLM: queries and keys normalised as a whole."""
    config = read(config, OLMOE, COUNTED)
    shape = biased(config, head_norm=Norm("norm", 0), whole_norm=True)
    if shape.heads * shape.head_dim != shape.hidden:
        raise refuse(config, "head_dim", "hidden_size / num_attention_heads")
    return dense(config, shape, experts(config, "intermediate_size"))


def flex_olmo(config: Config) -> Network:
    """FlexOlmoForCausalLM: OLMo 2's layer with a mixture."""
    config = read(config, FLEX_OLMO, COUNTED)
    shape = biased(config, head_norm=Norm("norm", 0), whole_norm=True)
    return dense(config, shape, experts(config, "intermediate_size"), arrange=post_norm)


def granitemoe(config: Config) -> Network:
    """GraniteMoeForCausalLM, and GraniteMoeSharedForCausalLM with a shared feed-forward."""
    config = read(config, GRANITE)
    return dense(config, biased(config), granite_experts(config))


def granite_experts(config: Config) -> Block:
    """Granite's mixture, with the shared feed-forward where one is asked for."""
    width = config.optional("shared_intermediate_size") or 0
    shared = shared_expert(config, width, "shared_mlp")
    size = ("intermediate_size", "num_local_experts")
    return experts(config, *size, shared=shared, router="router")


def granitemoe_swa(config: Config) -> Network:
    """GraniteMoeSWAForCausalLM: one full layer to three sliding ones, attention sinks."""
    config = read(config, GRANITE)
    pattern = windows(config, lambda index: SLIDING if index % 4 else FULL)
    shape = biased(config, sinks=True)
    return dense(config, shape, granite_experts(config), windows=pattern)


def phimoe(config: Config) -> Network:
    """PhimoeForCausalLM: LayerNorm with biases, optionally biased projections and head."""
    config = read(config, PHIMOE)
    moe = experts(config, "intermediate_size", "num_local_experts", router="router")
    norm = Norm("norm", config.integer("hidden_size"), "layer", bias=True)
    shape = biased(config, window=window(config))
    return dense(config, shape, moe, norm=norm, head_bias=config.flag("lm_head_bias"))


def gpt_oss(config: Config) -> Network:
    """GptOssForCausalLM: biases everywhere, attention sinks, every other layer sliding."""
    config = read(config, GPT_OSS, LOCAL)
    shape = biased(config, sinks=True)
    size = ("intermediate_size", "num_local_experts")
    moe = experts(config, *size, bias=True, router_bias=True, router="router")
    return dense(config, shape, moe, windows=windows(config, every(2)))


def minimax_m2(config: Config) -> Network:
    """MiniMaxM2ForCausalLM: queries and keys normalised as a whole."""
    config = read(config, MINIMAX_M2, LOCAL)
    shape = grouped(config, head_norm=Norm("norm", 0), whole_norm=True)
    return dense(config, shape, experts(config, "intermediate_size", "num_local_experts"))


def dbrx(config: Config) -> Network:
    """DbrxForCausalLM: fused projection, LayerNorm without biases."""
    aliases = {"num_attention_heads": "n_heads", "hidden_size": "d_model"}
    config = read(config, DBRX, aliases | {"num_hidden_layers": "n_layers"})
    hidden, heads = config.integer("d_model"), config.integer("n_heads")
    inside = config.section("attn_config", {"kv_n_heads": 1})
    ffn = config.section("ffn_config", DBRX_FFN)
    if ffn.integer("hidden_size") != hidden:
        raise refuse(ffn, "hidden_size", "d_model")
    shape = AttentionShape(
        hidden,
        heads,
        inside.integer("kv_n_heads"),
        head_width(config, hidden, heads, "n_heads"),
        dropout=probability(inside, "attn_pdrop"),
        fused="Wqkv",
        names=("", "", "", "out_proj"),
    )
    names = ("w1", "v1", "w2")
    expert = gated_mlp(hidden, ffn.integer("ffn_hidden_size"), names=names)
    moe = mixture(hidden, expert, *routed(ffn, "moe_num_experts", "moe_top_k"), router="layer")
    norm = Norm("norm_f", hidden, "layer")
    return dense(
        config,
        shape,
        moe,
        norm=norm,
        layers="n_layers",
        names=("wte", "lm_head"),
        limit="max_seq_len",
    )


def jetmoe(config: Config) -> Network:
    """JetMoeForCausalLM: experts of attention too, which share keys and values."""
    config = read(config, JETMOE, {"head_dim": "kv_channels"})
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    count, active = routed(config, "num_local_experts", "num_experts_per_tok")
    expert = Block(
        "expert",
        (
            Linear("input_linear", hidden, 2 * inner),
            Activation("act", inner, config.text("activation_function"), gated=True),
            Linear("output_linear", inner, hidden),
        ),
    )
    bias = (Block("mixture_bias", (Parameter("bias", (hidden,)),)),)
    moe = mixture(hidden, expert, count, active, shared=bias, router="layer")
    norm = Norm("norm", hidden)
    layer = (
        replace(norm, name="input_layernorm"),
        _mixture_of_attention(config, count, active),
        replace(norm, name="post_attention_layernorm"),
        moe,
    )
    blocks = runs([None] * config.layers("num_hidden_layers"), lambda _: layer)
    return causal_lm(config, hidden, blocks, norm)


def _mixture_of_attention(config: Config, count: int, active: int) -> Block:
    hidden, groups = config.integer("hidden_size"), config.integer("num_key_value_heads")
    head, width = config.integer("kv_channels"), groups * config.integer("kv_channels")
    heads, chosen = groups * active, Routing(count, active)
    if config.optional("num_attention_heads") not in (None, heads):
        raise refuse(config, "num_attention_heads", "num_key_value_heads * num_experts_per_tok")
    children: Children = (
        Block("router", (Linear("layer", hidden, count),)),
        Block("experts", (Linear("input_linear", hidden, width),), routing=chosen),
        Linear("kv_proj", hidden, 2 * width, split="column", key_value_heads=groups),
        Rotary("rotary", (heads + groups) * head),
        Attention("attention", heads, groups, head, head),
        Block("experts", (Linear("output_linear", width, hidden),), routing=chosen),
        Parameter("bias", (hidden,)),
    )
    return Block("attention", children)


FAMILIES = {
    "dbrx": dbrx,
    "flex_olmo": flex_olmo,
    "gpt_oss": gpt_oss,
    "granitemoe": granitemoe,
    "granitemoe_swa": granitemoe_swa,
    "granitemoeshared": granitemoe,
    "hunyuan_v1_moe": hunyuan_moe,
    "jetmoe": jetmoe,
    "minimax_m2": minimax_m2,
    "mixtral": mixtral,
    "olmoe": olmoe,
    "phimoe": phimoe,
}
