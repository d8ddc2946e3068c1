"""Laguna, Flint and Kolibri: mixtures of experts with sliding and full attention.

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import AttentionShape, Children, attention
from service.core.architecture.families.dense import biased, dense, every, pre_norm, swiglu, windows
from service.core.architecture.families.experts import experts, marked, shared_expert, sparse
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    grouped,
    kinds,
    read,
    refuse,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm, Parameter
from service.core.architecture.tree import Block

LAGUNA = LLAMA | {
    "vocab_size": 100352,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 40,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "sliding_window": 512,
    "gating": True,
    "max_position_embeddings": 131072,
}

FLINT = LAGUNA | {
    "vocab_size": 150144,
    "intermediate_size": 6144,
    "num_hidden_layers": 49,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "shared_expert_intermediate_size": 1024,
    "num_experts_per_tok": 6,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [0, 1],
    "sliding_window": 513,
    "max_position_embeddings": 262144,
}

KOLIBRI = LAGUNA | {
    "vocab_size": 128000,
    "hidden_size": 2560,
    "num_hidden_layers": 50,
    "num_key_value_heads": 4,
    "num_experts": 384,
    "num_experts_per_tok": 6,
    "sliding_window": 513,
    "max_position_embeddings": 262144,
}


def laguna(config: Config) -> Network:
    """LagunaForCausalLM: layers may differ in heads; a gate for each head's output."""
    config = read(config, LAGUNA)
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    if config.get("gating") is not True:
        raise refuse(config, "gating", "true")
    count = config.integer("num_attention_heads")
    per_layer = config.sequence("num_attention_heads_per_layer") or [count] * layers
    if len(per_layer) != layers:
        raise ConfigError(
            config.where("num_attention_heads_per_layer"), "one number of heads for each layer"
        )
    heads = [
        Config({"num_attention_heads_per_layer": item}, path=config.path).integer(
            "num_attention_heads_per_layer"
        )
        for item in per_layer
    ]
    found, size = kinds(config, lambda _: FULL), window(config)
    shape = biased(config, head_norm=Norm("norm", 0))
    correction = Parameter("e_score_correction_bias", (config.integer("num_experts"),))
    shared = shared_expert(config, config.integer("shared_expert_intermediate_size", 0))
    moe = experts(config, shared=(Block("router", (correction,)), *shared))
    mlp, norm = swiglu(config), Norm("norm", hidden)

    def make(kind: tuple[str, int, bool]) -> Children:
        gate = Linear("g_proj", hidden, kind[1], split="column", keeps_input=False)
        at = replace(shape, heads=kind[1], extra=(gate,))
        block = attention(replace(at, window=size if kind[0] == SLIDING else None))
        return pre_norm(norm, block, moe if kind[2] else mlp)

    blocks = runs(list(zip(found, heads, marked(config), strict=True)), make)
    return causal_lm(config, hidden, blocks, norm)


def flint(config: Config) -> Network:
    """FlintForCausalLM: full attention at both ends and in every fourth layer, sinks."""
    config = read(config, FLINT)
    layers, step = config.layers("num_hidden_layers"), config.integer("decoder_sparse_step")
    only = config.indices("mlp_only_layers")

    def kind(index: int) -> str:
        full = index < 2 or index % 4 == 1 or index == layers - 1
        return FULL if full else SLIDING

    shared = shared_expert(
        config, config.integer("shared_expert_intermediate_size", 0), "shared_expert"
    )
    return sparse(
        config,
        biased(config, head_norm=Norm("norm", 0), sinks=True),
        swiglu(config),
        experts(config, shared=shared),
        [index not in only and (index + 1) % step == 0 for index in range(layers)],
        windows=windows(config, kind),
    )


def _around(norm: Norm, attention: Block, mlp: Block) -> Children:
    names = ("post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm")
    after, before, last = (replace(norm, name=name) for name in names)
    return replace(norm, name="input_layernorm"), attention, after, before, mlp, last


def kolibri(config: Config) -> Network:
    """Kolibri1ForCausalLM: four sliding layers to one full, norms around both halves."""
    config = read(config, KOLIBRI, {"num_local_experts": "num_experts"})
    shape: AttentionShape = grouped(config, head_norm=Norm("norm", 0))
    shared = shared_expert(config, config.integer("shared_expert_intermediate_size", 0))
    moe, pattern = experts(config, shared=shared), windows(config, every(5))
    return dense(config, shape, moe, arrange=_around, windows=pattern)


FAMILIES = {
    "flint": flint,
    "kolibri1": kolibri,
    "laguna": laguna,
}
