"""The GPT-2 line: learned positions, LayerNorm with biases, a plain feed-forward.

gpt2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"). Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, dropped, plain_mlp
from service.core.architecture.families.dense import dense
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm

GPT2 = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "tie_word_embeddings": True,
}
NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def gpt2(config: Config) -> Network:
    """GPT2LMHeadModel."""
    config = read(config, GPT2, NAMES)
    if config.flag("add_cross_attention"):
        raise refuse(config, "add_cross_attention", "false")
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    dropout = probability(config, "resid_pdrop")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_head"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=probability(config, "attn_pdrop"),
        residual_dropout=dropout,
        fused="c_attn",
        names=("", "", "", "c_proj"),
    )
    mlp = plain_mlp(
        hidden,
        config.optional("n_inner", 1) or 4 * hidden,
        config.text("activation_function"),
        names=("c_fc", "c_proj"),
        dropout=dropout,
    )
    positions = Embedding("wpe", config.rows("n_positions"), hidden)
    return dense(
        config,
        shape,
        mlp,
        norm=Norm("ln_f", hidden, "layer", bias=True),
        layers="n_layer",
        before=(positions, *dropped(hidden, probability(config, "embd_pdrop"))),
        names=("wte", "lm_head"),
        limit="n_positions",
    )


FAMILIES = {"gpt2": gpt2}
