"""The Llama line: RMSNorm, rotary positions, grouped-query attention, a gated feed-forward.

llama (Touvron et al. 2023, arXiv 2302.13971; Dubey et al. 2024, arXiv 2407.21783) and mistral
(Jiang et al. 2023, arXiv 2310.06825). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    attention,
    embedding,
    gated_mlp,
    head,
    layer,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Norm

LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
}
MISTRAL = LLAMA | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "max_position_embeddings": 4096 * 32,
}


def llama(config: Config) -> Network:
    """LlamaForCausalLM."""
    config = Config(config.data, LLAMA, config.path)
    bias = config.flag("attention_bias")
    return _network(config, "llama", bias, bias, config.flag("mlp_bias"), window=None)


def mistral(config: Config) -> Network:
    """MistralForCausalLM: the same layer with a sliding window."""
    config = Config(config.data, MISTRAL, config.path)
    window = config.optional("sliding_window") if "sliding_window" in config.data else 4096
    return _network(config, "mistral", False, False, False, window)


def _network(
    config: Config, family: str, bias: bool, output_bias: bool, mlp_bias: bool, window: int | None
) -> Network:
    hidden = config.integer("hidden_size")
    heads = config.integer("num_attention_heads")
    shape = AttentionShape(
        hidden,
        heads,
        config.optional("num_key_value_heads", 1) or heads,
        config.optional("head_dim", 1) or hidden // heads,
        bias=bias,
        output_bias=output_bias,
        window=window,
    )
    rows = config.rows("vocab_size")
    activation = config.text("hidden_act", "silu")
    layers = layer(
        Norm("input_layernorm", hidden),
        attention(shape),
        Norm("post_attention_layernorm", hidden),
        gated_mlp(hidden, config.integer("intermediate_size"), activation, mlp_bias),
        repeat=config.layers("num_hidden_layers"),
    )
    root = Block(
        "model",
        (
            embedding(rows, hidden),
            layers,
            Block("norm", (Norm("norm", hidden),)),
            head(hidden, rows, config.flag("tie_word_embeddings")),
        ),
    )
    limit = config.optional("max_position_embeddings", 1, 1 << 40)
    return Network("", family, root, rows, hidden, limit)


FAMILIES = {"llama": llama, "mistral": mistral}
