"""The GPT-2 line: learned positions, LayerNorm with biases, a plain feed-forward.

openai-gpt (Radford et al. 2018), gpt2 (Radford et al. 2019), gpt_bigcode (Ben Allal et al. 2023,
arXiv 2301.03988), imagegpt (Chen et al. 2020), ctrl (Keskar et al. 2019, 1909.05858). Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    plain_mlp,
)
from service.core.architecture.families.dense import pre_norm
from service.core.architecture.families.trunk import (
    causal_lm,
    head_width,
    probability,
    read,
    refuse,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm
from service.core.architecture.tree import Block

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
BIGCODE = GPT2 | {"activation_function": "gelu_pytorch_tanh", "multi_query": True}
OPENAI = GPT2 | {"vocab_size": 40478, "n_positions": 512}
IMAGE = GPT2 | {
    "vocab_size": 513,
    "n_embd": 512,
    "n_layer": 24,
    "n_head": 8,
    "activation_function": "quick_gelu",
    "tie_word_embeddings": False,
}
CTRL = GPT2 | {
    "activation_function": "relu",
    "vocab_size": 246534,
    "n_positions": 256,
    "n_embd": 1280,
    "dff": 8192,
    "n_layer": 48,
    "n_head": 16,
}
NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def shape_of(config: Config, **changes: Any) -> AttentionShape:
    """Full multi-head attention from the short names that this line uses."""
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_head"),
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=probability(config, "attn_pdrop"),
        residual_dropout=probability(config, "resid_pdrop"),
        fused="c_attn",
        names=("", "", "", "c_proj"),
    )
    return replace(shape, **changes)


def mlp_of(config: Config, inner: int | None = None, **changes: Any) -> Block:
    """The plain feed-forward, four times as wide where the config does not say."""
    hidden = config.integer("n_embd")
    return plain_mlp(
        hidden,
        inner or config.optional("n_inner", 1) or 4 * hidden,
        config.text("activation_function", "relu"),
        dropout=probability(config, "resid_pdrop"),
        **({"names": ("c_fc", "c_proj")} | changes),
    )


def _network(
    config: Config, shape: AttentionShape, norm: Norm | None, layer: Children, **frame: Any
) -> Network:
    if config.flag("add_cross_attention"):
        raise refuse(config, "add_cross_attention", "false")
    blocks = runs([None] * config.layers("n_layer"), lambda _: layer)
    frame = {"names": ("wte", "lm_head"), "limit": "n_positions"} | frame
    return causal_lm(config, shape.hidden, blocks, norm, **frame)


def _positions(config: Config, hidden: int, name: str = "wpe") -> Children:
    table = Embedding(name, config.rows("n_positions"), hidden)
    return (table, *dropped(hidden, probability(config, "embd_pdrop")))


def gpt2(config: Config) -> Network:
    """GPT2LMHeadModel."""
    config = read(config, GPT2, NAMES)
    return _gpt2(config, shape_of(config))


def _gpt2(config: Config, shape: AttentionShape) -> Network:
    norm = Norm("ln_f", shape.hidden, "layer", bias=True)
    layer = pre_norm(norm, attention(shape), mlp_of(config))
    return _network(config, shape, norm, layer, before=_positions(config, shape.hidden))


def gpt_bigcode(config: Config) -> Network:
    """GPTBigCodeForCausalLM: one head of keys and values for all queries."""
    config = read(config, BIGCODE, NAMES)
    shape = shape_of(config)
    if config.flag("multi_query"):
        shape = replace(shape, key_value_heads=1)
    return _gpt2(config, shape)


def openai_gpt(config: Config) -> Network:
    """OpenAIGPTLMHeadModel: norms after each half, none at the end."""
    config = read(config, OPENAI, NAMES)
    shape = shape_of(config)
    norm = Norm("ln_1", shape.hidden, "layer", bias=True)
    mlp = mlp_of(config, 4 * shape.hidden)
    layer = (attention(shape), norm, mlp, replace(norm, name="ln_2"))
    before = _positions(config, shape.hidden, "positions_embed")
    return _network(config, shape, None, layer, before=before, names=("tokens_embed", "lm_head"))


def imagegpt(config: Config) -> Network:
    """ImageGPTForCausalImageModeling: pixels are tokens; the start token is never predicted."""
    config = read(config, IMAGE, NAMES)
    shape = shape_of(config)
    norm = Norm("ln_f", shape.hidden)
    layer = pre_norm(norm, attention(shape), mlp_of(config))
    rows = config.rows("vocab_size") - (0 if config.flag("tie_word_embeddings") else 1)
    before = _positions(config, shape.hidden)
    return _network(config, shape, norm, layer, before=before, head_rows=rows)


def ctrl(config: Config) -> Network:
    """CTRLLMHeadModel: fixed positions, a bias on the tied head."""
    config = read(config, CTRL, NAMES)
    shape = shape_of(config, fused=None, names=("Wq", "Wk", "Wv", "dense"), dropout=0.0)
    norm = Norm("layernorm", shape.hidden, "layer", bias=True)
    mlp = mlp_of(config, config.integer("dff"), names=("0", "2"))
    layer = pre_norm(norm, attention(shape), mlp)
    before = dropped(shape.hidden, probability(config, "embd_pdrop"))
    return _network(
        config, shape, norm, layer, before=before, names=("w", "lm_head"), head_bias=True
    )


FAMILIES = {
    "ctrl": ctrl,
    "gpt-sw3": gpt2,
    "gpt2": gpt2,
    "gpt_bigcode": gpt_bigcode,
    "imagegpt": imagegpt,
    "openai-gpt": openai_gpt,
}
