"""The Phi line.

phi (Li et al. 2023, arXiv 2309.05463), phi3 (Abdin et al. 2024, arXiv 2404.14219). Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import dropped, fused_gated_mlp
from service.core.architecture.families.dense import dense, parallel, plain
from service.core.architecture.families.trunk import grouped, probability, read, refuse, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

PHI = {
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 2048,
}
PHI3 = PHI | {
    "vocab_size": 32064,
    "hidden_size": 3072,
    "num_hidden_layers": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
}


def phi(config: Config) -> Network:
    """PhiForCausalLM: attention and feed-forward side by side, biases everywhere."""
    config = read(config, PHI)
    hidden = config.integer("hidden_size")
    norm = Norm("norm", hidden, "layer", bias=True)
    shape = grouped(
        config,
        bias=True,
        output_bias=True,
        names=("q_proj", "k_proj", "v_proj", "dense"),
        head_norm=norm if config.flag("qk_layernorm") else None,
        residual_dropout=probability(config, "resid_pdrop"),
    )
    if shape.head_norm and shape.heads * shape.head_dim != hidden:
        raise refuse(config, "head_dim", "hidden_size / num_attention_heads")
    dropout = probability(config, "resid_pdrop")
    mlp = plain(config, True, ("fc1", "fc2"), dropout=dropout)
    before = dropped(hidden, probability(config, "embd_pdrop"))
    return dense(config, shape, mlp, arrange=parallel, norm=norm, before=before, head_bias=True)


def phi3(config: Config) -> Network:
    """Phi3ForCausalLM: one projection for queries, keys and values, one for gate and up."""
    config = read(config, PHI3)
    hidden, dropout = config.integer("hidden_size"), probability(config, "resid_pdrop")
    shape = grouped(
        config,
        fused="qkv_proj",
        window=window(config),
        residual_dropout=dropout,
    )
    inner = config.integer("intermediate_size")
    mlp = fused_gated_mlp(hidden, inner, config.text("hidden_act"), dropout=dropout)
    before = dropped(hidden, probability(config, "embd_pdrop"))
    return dense(config, shape, mlp, before=before)


FAMILIES = {"phi": phi, "phi3": phi3}
