"""Command: attention and feed-forward side by side (Cohere).

cohere and cohere2 (arXiv 2504.00698), cohere2_moe. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import gated_mlp
from service.core.architecture.families.dense import biased, dense, every, parallel, swiglu, windows
from service.core.architecture.families.experts import experts, marked, several_shared, sparse
from service.core.architecture.families.layernorm import layer_norm
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

COHERE = LLAMA | {
    "vocab_size": 256000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "tie_word_embeddings": True,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "max_position_embeddings": 8192,
}

COHERE2_MOE = LLAMA | {
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


def cohere(config: Config) -> Network:
    """CohereForCausalLM: attention and feed-forward side by side, LayerNorm without bias."""
    config = read(config, COHERE)
    norm = layer_norm(config, bias=False)
    shape = biased(config)
    if config.flag("use_qk_norm"):
        shape = replace(shape, head_norm=norm, whole_norm=True)
    return dense(config, shape, swiglu(config), arrange=parallel, norm=norm)


def cohere2(config: Config) -> Network:
    """Cohere2ForCausalLM: three sliding layers to one full."""
    config = read(config, COHERE)
    pattern = windows(config, every(config.integer("sliding_window_pattern")))
    norm = layer_norm(config, bias=False)
    return dense(
        config, biased(config), swiglu(config), arrange=parallel, norm=norm, windows=pattern
    )


def cohere2_moe(config: Config) -> Network:
    """Cohere2MoeForCausalLM: attention and mixture side by side, dense layers first."""
    config = read(config, COHERE2_MOE)
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
    "cohere": cohere,
    "cohere2": cohere2,
    "cohere2_moe": cohere2_moe,
}
