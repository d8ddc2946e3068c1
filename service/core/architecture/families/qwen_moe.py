"""Mixtures of experts in some layers: Qwen and ERNIE.

qwen2_moe (Yang et al. 2024, arXiv 2407.10671), qwen3_moe (Yang et al. 2025, 2505.09388), mellum,
ernie4_5_moe (Baidu 2025). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.dense import (
    biased,
    swiglu,
    windows,
)
from service.core.architecture.families.experts import (
    experts,
    marked,
    several_shared,
    shared_expert,
    sparse,
)
from service.core.architecture.families.llama import LLAMA, QWEN2
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    grouped,
    read,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm, Parameter
from service.core.architecture.tree import Block

QWEN2_MOE = QWEN2 | {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "decoder_sparse_step": 1,
    "qkv_bias": True,
}
QWEN3_MOE = QWEN2_MOE | {
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}
MELLUM = QWEN3_MOE | {
    "vocab_size": 98304,
    "hidden_size": 2304,
    "intermediate_size": 7168,
    "num_hidden_layers": 28,
    "head_dim": 128,
    "moe_intermediate_size": 896,
    "num_experts": 64,
    "sliding_window": 1024,
    "max_position_embeddings": 131072,
}
ERNIE = LLAMA | {
    "vocab_size": 103424,
    "hidden_size": 2560,
    "intermediate_size": 12288,
    "num_hidden_layers": 28,
    "num_attention_heads": 20,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 1536,
    "moe_k": 6,
    "moe_num_experts": 64,
    "moe_num_shared_experts": 2,
    "moe_layer_start_index": 1,
    "moe_layer_end_index": -1,
    "moe_layer_interval": 1,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}


def stepped(config: Config) -> list[bool]:
    """Qwen's choice of layers: every `decoder_sparse_step`-th, less `mlp_only_layers`."""
    step, dense = config.integer("decoder_sparse_step"), config.indices("mlp_only_layers")
    layers = config.layers("num_hidden_layers")
    return [index not in dense and (index + 1) % step == 0 for index in range(layers)]


def gated_shared(config: Config) -> Children:
    """A shared expert whose output a learned gate weighs."""
    inner = config.integer("shared_expert_intermediate_size", 0)
    gate = Linear("shared_expert_gate", config.integer("hidden_size"), 1)
    shared = shared_expert(config, inner, "shared_expert")
    return (*shared, Block("shared_expert_gate", (gate,)))


def qwen2_moe(config: Config) -> Network:
    """Qwen2MoeForCausalLM: a gated shared expert beside the routed ones."""
    config = read(config, QWEN2_MOE)
    used = config.flag("use_sliding_window")
    first = config.integer("max_window_layers", 0)
    pattern = windows(config, lambda i: SLIDING if used and i % 2 == 0 and i < first else FULL)
    return sparse(
        config,
        grouped(config, bias=config.flag("qkv_bias")),
        swiglu(config),
        experts(config, shared=gated_shared(config)),
        stepped(config),
        windows=pattern if used else None,
    )


def qwen3_moe(config: Config) -> Network:
    """Qwen3MoeForCausalLM."""
    config = read(config, QWEN3_MOE, {"num_local_experts": "num_experts"})
    size = window(config) if config.flag("use_sliding_window") else None
    shape = biased(config, head_norm=Norm("norm", 0), window=size)
    return sparse(config, shape, swiglu(config), experts(config), stepped(config))


def mellum(config: Config) -> Network:
    """MellumForCausalLM: Qwen 3's layer with lists of kinds."""
    config = read(config, MELLUM, {"num_local_experts": "num_experts"})
    shape, pattern = biased(config, head_norm=Norm("norm", 0)), windows(config, lambda _: FULL)
    which = marked(config, dense=0)
    return sparse(config, shape, swiglu(config), experts(config), which, windows=pattern)


def ernie4_5_moe(config: Config) -> Network:
    """Ernie4_5_MoeForCausalLM: a learned correction of the router for each expert."""
    aliases = {"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"}
    config = read(config, ERNIE, aliases)
    layers, step = config.layers("num_hidden_layers"), config.integer("moe_layer_interval")
    first, last = config.integer("moe_layer_start_index", 0), _ernie_last(config, layers)
    statics = Parameter("e_score_correction_bias", (1, config.integer("moe_num_experts")))
    shared = (
        Block("router", (statics,)),
        *several_shared(config, "moe_num_shared_experts", bias="use_bias"),
    )
    moe = experts(
        config,
        count="moe_num_experts",
        active="moe_k",
        shared=shared,
    )
    which = [(i + 1) % step == 0 and first <= i <= last for i in range(layers)]
    shape, bias = biased(config, "use_bias"), config.flag("use_bias")
    return sparse(config, shape, swiglu(config, "use_bias"), moe, which, head_bias=bias)


def _ernie_last(config: Config, layers: int) -> int:
    last = config.integer("moe_layer_end_index", -1)
    return layers - 1 if last == -1 else last


FAMILIES = {
    "ernie4_5_moe": ernie4_5_moe,
    "mellum": mellum,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
}
