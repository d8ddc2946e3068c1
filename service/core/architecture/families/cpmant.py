"""CPM-Ant: learned prompts before the text, relative positions (OpenBMB 2022).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, Children, gated_mlp
from service.core.architecture.families.dense import dense
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm

CPMANT = {
    "vocab_size": 30720,
    "hidden_size": 4096,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "dim_head": 128,
    "dim_ff": 10240,
    "prompt_types": 32,
    "prompt_length": 32,
    "segment_types": 32,
    "position_bias_num_buckets": 512,
}


def cpmant(config: Config) -> Network:
    """CpmAntForCausalLM: learned prompts before the text, relative positions."""
    config = read(config, CPMANT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    names = ("project_q", "project_k", "project_v", "attention_out")
    shape = AttentionShape(
        hidden, heads, heads, config.integer("dim_head"), rotary=False, names=names
    )
    mlp = gated_mlp(hidden, config.integer("dim_ff"), "gelu", names=("w_0", "w_1", "w_out"))
    prompts = config.integer("prompt_types", 0) * config.integer("prompt_length", 0)
    segments = config.integer("segment_types", 0)
    rows = segments * segments + config.integer("position_bias_num_buckets", 0)
    before: Children = (
        Embedding("segment_embedding", segments, hidden),
        Embedding("position_bias", rows, heads),
    )
    rows = config.rows("vocab_size")
    config = Config({**config.data, "vocab_size": rows + prompts}, config.defaults, config.path)
    return dense(
        config,
        shape,
        mlp,
        norm=Norm("output_layernorm", hidden),
        before=before,
        names=("input_embedding", "lm_head"),
        head_rows=rows,
        ties=False,
    )


FAMILIES = {
    "cpmant": cpmant,
}
