"""Mixtures of experts in some layers, each with a turn of its own.

llama4 (Meta 2025), afmoe (Arcee 2025), exaone_moe, hy_v3, mimo_v2_flash (arXiv 2601.02780),
cohere2_moe. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention, gated_mlp
from service.core.architecture.families.dense import (
    biased,
    every,
    parallel,
    pre_norm,
    swiglu,
    windows,
)
from service.core.architecture.families.experts import (
    after,
    experts,
    marked,
    several_shared,
    shared_expert,
    sparse,
)
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.llama_kin import exaone_pattern
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    grouped,
    kinds,
    read,
    runs,
    window,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Linear, Norm, Parameter

LLAMA4 = LLAMA | {
    "vocab_size": 202048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "no_rope_layer_interval": 4,
    "attention_chunk_size": 8192,
    "max_position_embeddings": 131072,
}
AFMOE = LLAMA | {
    "vocab_size": 200192,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 1408,
    "num_attention_heads": 16,
    "head_dim": 128,
    "num_dense_layers": 1,
    "num_experts": 64,
    "num_experts_per_tok": 6,
    "num_shared_experts": 2,
    "global_attn_every_n_layers": 4,
    "sliding_window": 1024,
    "max_position_embeddings": 16384,
}
EXAONE = LLAMA | {
    "vocab_size": 102400,
    "intermediate_size": 16384,
    "num_key_value_heads": 32,
    "moe_intermediate_size": 1024,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
}
HY3 = LLAMA | {
    "vocab_size": 120832,
    "intermediate_size": 13312,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "moe_intermediate_size": 1536,
    "num_experts": 192,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "max_position_embeddings": 131072,
}
MIMO = LLAMA | {
    "vocab_size": 152576,
    "intermediate_size": 16384,
    "num_hidden_layers": 48,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 192,
    "v_head_dim": 128,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "sliding_window": 129,
    "max_position_embeddings": 131072,
}
COHERE = LLAMA | {
    "vocab_size": 256000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "head_dim": 128,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "num_shared_experts": 0,
    "prefix_dense_sliding_window_pattern": 1,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}


def llama4(config: Config) -> Network:
    """Llama4ForCausalLM (text): chunked attention on the layers with positions."""
    config = read(config, LLAMA4)
    layers, step = config.layers("num_hidden_layers"), config.integer("no_rope_layer_interval")
    rotary = config.sequence("no_rope_layers") or [(i + 1) % step for i in range(layers)]
    size = config.optional("attention_chunk_size", 1, 1 << 40)
    chunked = "chunked_attention"
    found = kinds(
        config, lambda i: chunked if i < len(rotary) and rotary[i] else FULL, (chunked, FULL)
    )
    every_moe = config.integer("interleave_moe_layer_step")
    chosen = config.get("moe_layers")
    members = config.indices("moe_layers") if chosen is not None else None
    which = [
        i in members if members is not None else (i + 1) % every_moe == 0 for i in range(layers)
    ]
    shared = shared_expert(config, config.integer("intermediate_size"), "shared_expert")
    size_fields = ("intermediate_size", "num_local_experts")
    return sparse(
        config,
        biased(config),
        swiglu(config, size="intermediate_size_mlp"),
        experts(config, *size_fields, shared=shared, router="router"),
        which,
        windows=[size if kind == chunked else None for kind in found],
    )


def afmoe(config: Config) -> Network:
    """AfmoeForCausalLM: gated attention, norms around both halves."""
    config = read(config, AFMOE)
    hidden = config.integer("hidden_size")
    shape = biased(config, head_norm=Norm("norm", 0))
    gate = Linear("gate_proj", hidden, shape.heads * shape.head_dim, split="column")
    bias = Block("router", (Parameter("expert_bias", (config.integer("num_experts"),)),))
    shared = (bias, *several_shared(config, "num_shared_experts"))
    return sparse(
        config,
        replace(shape, extra=(gate,)),
        swiglu(config),
        experts(config, shared=shared),
        after(config, "num_dense_layers"),
        arrange=_afmoe_layer,
        windows=windows(config, every(config.integer("global_attn_every_n_layers"))),
    )


def _afmoe_layer(norm: Norm, attention: Block, mlp: Block) -> Children:
    names = ("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm")
    first, second, third = (replace(norm, name=name) for name in names)
    return first, attention, second, third, mlp, replace(norm, name="post_mlp_layernorm")


def exaone_moe(config: Config) -> Network:
    """ExaoneMoeForCausalLM."""
    config = read(config, EXAONE)
    return sparse(
        config,
        grouped(config, head_norm=Norm("norm", 0)),
        swiglu(config),
        experts(config, shared=several_shared(config, "num_shared_experts")),
        marked(config, config.integer("first_k_dense_replace", 0)),
        windows=windows(config, exaone_pattern(config)),
    )


def hy3(config: Config) -> Network:
    """HYV3ForCausalLM."""
    config = read(config, HY3, {"num_local_experts": "num_experts"})
    shape = biased(config, head_norm=Norm("norm", 0))
    shared = several_shared(config, "num_shared_experts", bias="mlp_bias")
    moe = experts(config, shared=shared)
    return sparse(config, shape, swiglu(config, "mlp_bias"), moe, marked(config))


def mimo(config: Config) -> Network:
    """MiMoV2FlashForCausalLM: sliding layers have twice the key-value heads, and sinks."""
    config = read(config, MIMO, {"num_local_experts": "n_routed_experts"})
    hidden, bias = config.integer("hidden_size"), config.flag("attention_bias")
    full = grouped(config, bias=bias, value_dim=config.integer("v_head_dim"))
    size = window(config)
    sliding = replace(full, key_value_heads=2 * full.key_value_heads, window=size, sinks=True)
    found = kinds(config, lambda i: FULL if i == 0 or (i + 1) % 6 == 0 else SLIDING)
    mlp, moe = swiglu(config), experts(config, count="n_routed_experts")
    norm = Norm("norm", hidden)

    def make(kind: tuple[str, bool]) -> Children:
        shape = sliding if kind[0] == SLIDING else full
        return pre_norm(norm, attention(shape), moe if kind[1] else mlp)

    blocks = runs(list(zip(found, marked(config), strict=True)), make)
    return causal_lm(config, hidden, blocks, norm)


def cohere2_moe(config: Config) -> Network:
    """Cohere2MoeForCausalLM: attention and mixture side by side, dense layers first."""
    config = read(config, COHERE)
    first = config.optional("first_k_dense_replace") or 0
    prefix = every(config.integer("prefix_dense_sliding_window_pattern"))
    rest = every(config.integer("sliding_window_pattern"))
    pattern = windows(config, lambda i: prefix(i) if i < first else rest(i - first))
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    rms = config.get("rms_norm_eps") is not None
    mlp = gated_mlp(hidden, config.optional("prefix_dense_intermediate_size", 1) or inner)
    return sparse(
        config,
        biased(config),
        mlp,
        experts(
            config,
            "intermediate_size",
            shared=several_shared(config, "num_shared_experts", "intermediate_size"),
        ),
        marked(config, first),
        arrange=parallel,
        norm=Norm("norm", hidden, "rms" if rms else "layer"),
        windows=pattern,
    )


FAMILIES = {
    "afmoe": afmoe,
    "cohere2_moe": cohere2_moe,
    "exaone_moe": exaone_moe,
    "hy_v3": hy3,
    "llama4_text": llama4,
    "mimo_v2_flash": mimo,
}
