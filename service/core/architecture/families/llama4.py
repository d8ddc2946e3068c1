"""Llama 4's text model: chunked attention, experts in every n-th layer (Meta 2025).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import biased, swiglu
from service.core.architecture.families.experts import experts, shared_expert, sparse
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import FULL, kinds, read
from service.core.architecture.network import Network

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


FAMILIES = {
    "llama4_text": llama4,
}
