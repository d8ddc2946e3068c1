"""MiMo-V2-Flash: sliding layers with sinks and more key-value heads (arXiv 2601.02780).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention
from service.core.architecture.families.dense import pre_norm, swiglu
from service.core.architecture.families.experts import experts, marked
from service.core.architecture.families.llama import LLAMA
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
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

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


FAMILIES = {
    "mimo_v2_flash": mimo,
}
