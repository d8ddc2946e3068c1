"""Hunyuan: dense, and two generations of mixtures of experts (Tencent).

hunyuan_v1_dense, hunyuan_v1_moe (arXiv 2411.02265), hy_v3.
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import biased, dense, swiglu
from service.core.architecture.families.experts import (
    experts,
    marked,
    several_shared,
    shared_expert,
    sparse,
)
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

HUNYUAN_MOE = LLAMA | {"vocab_size": 290943, "num_experts": 1, "moe_topk": 1}

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

HUNYUAN = LLAMA | {"vocab_size": 290943}


def hunyuan_moe(config: Config) -> Network:
    """HunYuanMoEV1ForCausalLM: one shared feed-forward as wide as an expert."""
    aliases = {"num_experts_per_tok": "moe_topk", "num_local_experts": "num_experts"}
    config = read(config, HUNYUAN_MOE, aliases)
    shape = biased(config, head_norm=Norm("norm", 0))
    shared = shared_expert(config, config.integer("intermediate_size"), "shared_mlp")
    moe = experts(config, "intermediate_size", active="moe_topk", shared=shared, router="wg")
    return dense(config, shape, moe)


def hy3(config: Config) -> Network:
    """HYV3ForCausalLM."""
    config = read(config, HY3, {"num_local_experts": "num_experts"})
    shape = biased(config, head_norm=Norm("norm", 0))
    shared = several_shared(config, "num_shared_experts", bias="mlp_bias")
    moe = experts(config, shared=shared)
    return sparse(config, shape, swiglu(config, "mlp_bias"), moe, marked(config))


def hunyuan(config: Config) -> Network:
    """HunYuanDenseV1ForCausalLM: normalised queries and keys."""
    config = read(config, HUNYUAN)
    return dense(config, biased(config, head_norm=Norm("norm", 0)), swiglu(config))


FAMILIES = {
    "hunyuan_v1_dense": hunyuan,
    "hunyuan_v1_moe": hunyuan_moe,
    "hy_v3": hy3,
}
