"""Decoders out of fairseq: OPT and its kin.

opt (Zhang et al. 2022, arXiv 2205.01068), xglm (Lin et al. 2021, arXiv 2112.10668), biogpt (Luo et
al. 2022, arXiv 2210.10341). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    dropped,
    plain_mlp,
)
from service.core.architecture.families.dense import dense
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Norm
from service.core.architecture.tree import Block

OPT = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "num_attention_heads": 12,
    "activation_function": "relu",
    "do_layer_norm_before": True,
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "dropout": 0.1,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}
XGLM = {
    "vocab_size": 256008,
    "d_model": 1024,
    "ffn_dim": 4096,
    "num_layers": 24,
    "attention_heads": 16,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}
BIOGPT = {
    "vocab_size": 42384,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
}
OFFSET = 2
"""Rows of the position tables in front of the first position, as in fairseq."""


def fairseq_shape(
    hidden: int, heads: int, width: int, bias: bool, attention: float, residual: float
) -> AttentionShape:
    """Full multi-head attention with the names and the biases of fairseq's."""
    return AttentionShape(
        hidden,
        heads,
        heads,
        width,
        bias=bias,
        output_bias=bias,
        rotary=False,
        dropout=attention,
        residual_dropout=residual,
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )


def _after(norm: Norm, attention: Block, mlp: Block) -> Children:
    last = replace(norm, name="final_layer_norm")
    return attention, replace(norm, name="self_attn_layer_norm"), mlp, last


def _before(norm: Norm, attention: Block, mlp: Block) -> Children:
    first = replace(norm, name="self_attn_layer_norm")
    return first, attention, replace(norm, name="final_layer_norm"), mlp


def opt(config: Config) -> Network:
    """OPTForCausalLM: OPT-350M has norms after each half and a narrower embedding."""
    config = read(config, OPT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    bias, affine = config.flag("enable_bias"), config.flag("layer_norm_elementwise_affine")
    first, dropout = config.flag("do_layer_norm_before"), probability(config, "dropout")
    attention = probability(config, "attention_dropout")
    shape = fairseq_shape(
        hidden, heads, head_width(config, hidden, heads), bias, attention, dropout
    )
    activation, inner = config.text("activation_function"), config.integer("ffn_dim")
    norm = Norm("final_layer_norm", hidden, "layer", affine, affine)
    width = config.optional("word_embed_proj_dim", 1) or hidden
    narrow = width != hidden
    project_in = (Linear("project_in", width, hidden),) if narrow else ()
    project_out = (Block("project_out", (Linear("project_out", hidden, width),)),)
    positions = Embedding(
        "embed_positions", config.rows("max_position_embeddings") + OFFSET, hidden
    )
    return dense(
        config,
        shape,
        plain_mlp(hidden, inner, activation, bias, ("fc1", "fc2"), dropout),
        arrange=_before if first else _after,
        norm=norm,
        ends=first and not config.flag("_remove_final_layer_norm"),
        width=width,
        before=(*project_in, positions),
        after=project_out if narrow else (),
    )


def xglm(config: Config) -> Network:
    """XGLMForCausalLM: fixed positions."""
    aliases = {
        "num_attention_heads": "attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
    }
    config = read(config, XGLM, aliases)
    if config.flag("add_cross_attention"):
        raise refuse(config, "add_cross_attention", "false")
    hidden, heads = config.integer("d_model"), config.integer("attention_heads")
    width = head_width(config, hidden, heads, "attention_heads")
    dropout = probability(config, "dropout")
    attention = probability(config, "attention_dropout")
    activation, inner = config.text("activation_function"), config.integer("ffn_dim")
    return dense(
        config,
        fairseq_shape(hidden, heads, width, True, attention, dropout),
        plain_mlp(hidden, inner, activation, True, ("fc1", "fc2"), dropout),
        arrange=_before,
        norm=Norm("layer_norm", hidden, "layer", bias=True),
        layers="num_layers",
        before=dropped(hidden, dropout),
    )


def biogpt(config: Config) -> Network:
    """BioGptForCausalLM."""
    config = read(config, BIOGPT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    dropout = probability(config, "hidden_dropout_prob")
    attention = probability(config, "attention_probs_dropout_prob")
    rows = config.rows("max_position_embeddings") + OFFSET
    width, inner = head_width(config, hidden, heads), config.integer("intermediate_size")
    return dense(
        config,
        fairseq_shape(hidden, heads, width, True, attention, dropout),
        plain_mlp(hidden, inner, config.text("hidden_act"), True, ("fc1", "fc2"), dropout),
        arrange=_before,
        norm=Norm("layer_norm", hidden, "layer", bias=True),
        before=(Embedding("embed_positions", rows, hidden), *dropped(hidden, dropout)),
        names=("embed_tokens", "output_projection"),
    )


FAMILIES = {"biogpt": biogpt, "opt": opt, "xglm": xglm}
