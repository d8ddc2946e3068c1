"""Decoders with linear biases on attention scores (ALiBi) or one head of keys and values.

bloom (BigScience 2022, arXiv 2211.05100), falcon (Almazrouei et al. 2023, arXiv 2311.16867), mpt
(MosaicML 2023). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, plain_mlp
from service.core.architecture.families.dense import dense, parallel, pre_norm
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

BLOOM = {
    "vocab_size": 250880,
    "hidden_size": 64,
    "n_layer": 2,
    "n_head": 8,
    "tie_word_embeddings": True,
}
FALCON = {
    "vocab_size": 65024,
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "multi_query": True,
    "parallel_attn": True,
    "activation": "gelu",
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}
MPT = {
    "vocab_size": 50368,
    "d_model": 2048,
    "n_heads": 16,
    "n_layers": 24,
    "max_seq_len": 2048,
    "tie_word_embeddings": True,
}
FUSED = ("", "", "", "dense")
WIDE = ("dense_h_to_4h", "dense_4h_to_h")


def bloom(config: Config) -> Network:
    """BloomForCausalLM: a norm on the embedding."""
    aliases = {
        "n_embed": "hidden_size",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
    }
    config = read(config, BLOOM, aliases)
    hidden, heads = config.integer("hidden_size"), config.integer("n_head")
    dropout = probability(config, "hidden_dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_head"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        fused="query_key_value",
        names=FUSED,
    )
    norm = Norm("ln_f", hidden, "layer", bias=True)
    return dense(
        config,
        shape,
        plain_mlp(hidden, 4 * hidden, "gelu_pytorch_tanh", names=WIDE, dropout=dropout),
        norm=norm,
        layers="n_layer",
        before=(replace(norm, name="word_embeddings_layernorm"),),
        names=("word_embeddings", "lm_head"),
        limit="seq_length",
    )


def falcon(config: Config) -> Network:
    """FalconForCausalLM: both the first design (7B) and the later one (40B, 180B)."""
    config = read(config, FALCON, {"n_embed": "hidden_size"})
    for old, own in (("n_head", "num_attention_heads"), ("n_layer", "num_hidden_layers")):
        if config.optional(old) not in (None, config.integer(own)):
            raise refuse(config, old, own)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    dropout, bias = probability(config, "hidden_dropout"), config.flag("bias")
    shape = AttentionShape(
        hidden,
        heads,
        _falcon_groups(config, heads),
        head_width(config, hidden, heads),
        bias=bias,
        output_bias=bias,
        rotary=not config.flag("alibi"),
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        fused="query_key_value",
        names=FUSED,
    )
    inner = config.optional("ffn_hidden_size", 1) or 4 * hidden
    mlp = plain_mlp(hidden, inner, config.text("activation"), bias, WIDE, dropout)
    return dense(
        config,
        shape,
        mlp,
        arrange=parallel if _falcon_norms(config) == 1 else pre_norm,
        norm=Norm("ln_f", hidden, "layer", bias=True),
        names=("word_embeddings", "lm_head"),
    )


def _falcon_groups(config: Config, heads: int) -> int:
    if config.flag("new_decoder_architecture"):
        return config.optional("num_kv_heads", 1) or heads
    return 1 if config.flag("multi_query") else heads


def _falcon_norms(config: Config) -> int:
    if not config.flag("parallel_attn"):
        return 2
    given = config.optional("num_ln_in_parallel_attn")
    if given is None:
        return 2 if config.flag("new_decoder_architecture") else 1
    return 2 if given == 2 else 1


def mpt(config: Config) -> Network:
    """MptForCausalLM: no biases at all; the class builds no position table."""
    aliases = {
        "num_attention_heads": "n_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
    }
    config = read(config, MPT, aliases)
    hidden, heads = config.integer("d_model"), config.integer("n_heads")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_heads"),
        rotary=False,
        dropout=probability(config.section("attn_config"), "attn_pdrop"),
        fused="Wqkv",
        names=("", "", "", "out_proj"),
    )
    return dense(
        config,
        shape,
        plain_mlp(hidden, 4 * hidden, "gelu", bias=False, name="ffn"),
        norm=Norm("norm_f", hidden, "layer"),
        layers="n_layers",
        names=("wte", "lm_head"),
        limit="max_seq_len",
    )


FAMILIES = {"bloom": bloom, "falcon": falcon, "mpt": mpt}
