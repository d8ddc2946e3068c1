"""LFM3: short convolutions, sliding and full attention with gated heads.

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention, gated_mlp
from service.core.architecture.families.dense import biased
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.mixers import short_convolution
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    kinds,
    read,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm

LFM3 = LLAMA | {
    "vocab_size": 128000,
    "hidden_size": 2048,
    "intermediate_size": 7680,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "conv_L_cache": 7,
    "sliding_window": 256,
    "use_sandwich_norm": True,
    "use_attention_gate": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 128000,
}


def lfm3(config: Config) -> Network:
    """Lfm3ForCausalLM: short convolutions, sliding and full attention with gated heads."""
    config = read(config, LFM3)
    hidden = config.integer("hidden_size")
    shape = biased(config, head_norm=Norm("norm", 0))
    if config.flag("use_attention_gate"):
        gate = Linear("g_proj", hidden, shape.heads, split="column", keeps_input=False)
        shape = replace(shape, extra=(gate,))
    mixers = {
        "conv": short_convolution(hidden, config.integer("conv_L_cache"), config.flag("conv_bias")),
        FULL: attention(shape),
        SLIDING: attention(replace(shape, window=window(config))),
    }
    names = ("w1", "w3", "w2")
    mlp = gated_mlp(hidden, config.integer("intermediate_size"), names=names)
    norm = Norm("embedding_norm", hidden)
    around = config.flag("use_sandwich_norm")

    def kind(index: int) -> str:
        if index % 4 == 2:
            return FULL
        return SLIDING if index % 4 == 0 and index > 0 else "conv"

    def make(mixer: str) -> Children:
        named = ("operator_norm", "post_operator_norm", "ffn_norm", "post_ffn_norm")
        one, two, three, four = (replace(norm, name=name) for name in named)
        if around:
            return one, mixers[mixer], two, three, mlp, four
        return one, mixers[mixer], three, mlp

    return causal_lm(config, hidden, runs(kinds(config, kind, tuple(mixers)), make), norm)


FAMILIES = {
    "lfm3": lfm3,
}
