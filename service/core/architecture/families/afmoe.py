"""AFMoE: gated attention and norms around both halves of a layer (Arcee 2025).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.dense import biased, every, swiglu, windows
from service.core.architecture.families.experts import after, experts, several_shared, sparse
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm, Parameter
from service.core.architecture.tree import Block

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


FAMILIES = {
    "afmoe": afmoe,
}
