"""Decoders that were trained to attend to an encoder, by themselves.

trocr (Li et al. 2021, arXiv 2109.10282), musicgen_decoder (Copet et al. 2023, 2306.05284). Their
cross attention holds weights; without an encoder it does not run, so it stands on an empty stream.
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    plain_mlp,
)
from service.core.architecture.families.opt import OFFSET, fairseq_shape
from service.core.architecture.families.trunk import (
    causal_lm,
    head_width,
    named_class,
    probability,
    read,
    refuse,
    runs,
    stored_format,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Norm, Split
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

TROCR = {
    "vocab_size": 50265,
    "d_model": 1024,
    "decoder_layers": 12,
    "decoder_attention_heads": 16,
    "decoder_ffn_dim": 4096,
    "activation_function": "gelu",
    "max_position_embeddings": 512,
    "dropout": 0.1,
    "use_learned_position_embeddings": True,
    "layernorm_embedding": True,
    "tie_word_embeddings": True,
}
TROCR_NAMES = {
    "num_attention_heads": "decoder_attention_heads",
    "hidden_size": "d_model",
    "num_hidden_layers": "decoder_layers",
}
MUSICGEN = {
    "vocab_size": 2048,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "ffn_dim": 4096,
    "activation_function": "gelu",
    "max_position_embeddings": 2048,
    "dropout": 0.1,
    "num_codebooks": 4,
}
NOTHING = fixed(0.0)


def _layer(shape: AttentionShape, cross: AttentionShape, mlp: Block, before: bool) -> Children:
    """Self attention, cross attention and feed-forward, with norms before or after each."""
    norm = Norm("norm", shape.hidden, "layer", bias=True)
    crossed = attention(replace(cross, causal=False, keys=NOTHING))
    own = (replace(norm, name="self_attn_layer_norm"), attention(shape))
    last = (replace(norm, name="final_layer_norm"), mlp)
    beside = (replace(norm, name="encoder_attn_layer_norm"), *crossed.children)
    skipped = Block("encoder_attn", beside, stream=NOTHING)
    order = 1 if before else -1
    return (*own[::order], skipped, *last[::order])


def trocr(config: Config) -> Network:
    """TrOCRForCausalLM: norms after each part, as in BART."""
    config = read(config, TROCR, TROCR_NAMES)
    hidden, heads = config.integer("d_model"), config.integer("decoder_attention_heads")
    dropout = probability(config, "dropout")
    width = head_width(config, hidden, heads, "decoder_attention_heads")
    shape = fairseq_shape(hidden, heads, width, True, 0.0, dropout)
    cross = replace(shape, key_inputs=config.optional("cross_attention_hidden_size", 1) or hidden)
    inner, activation = config.integer("decoder_ffn_dim"), config.text("activation_function")
    mlp = plain_mlp(hidden, inner, activation, True, ("fc1", "fc2"), dropout)
    layer = _layer(shape, cross, mlp, before=False)
    before: Children = dropped(hidden, dropout)
    if config.flag("layernorm_embedding"):
        before = (Norm("layernorm_embedding", hidden, "layer", bias=True), *before)
    if config.flag("use_learned_position_embeddings"):
        rows = config.rows("max_position_embeddings") + OFFSET
        before = (Embedding("embed_positions", rows, hidden), *before)
    layers = runs([None] * config.layers("decoder_layers"), lambda _: layer)
    names = ("embed_tokens", "output_projection")
    return causal_lm(config, hidden, layers, None, before=before, names=names)


def musicgen(config: Config) -> Network:
    """MusicgenForCausalLM: one embedding and one head for each codebook, no biases."""
    config = read(config, MUSICGEN)
    if named_class(config) not in ("", "MusicgenForCausalLM"):
        raise refuse(config, "architectures", "MusicgenForCausalLM")
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    books, rows = config.integer("num_codebooks", 1, 1000), config.rows("vocab_size")
    dropout = probability(config, "dropout")
    shape = fairseq_shape(hidden, heads, head_width(config, hidden, heads), False, 0.0, dropout)
    inner, activation = config.integer("ffn_dim"), config.text("activation_function")
    mlp = plain_mlp(hidden, inner, activation, False, ("fc1", "fc2"), dropout)
    layer = _layer(shape, replace(shape, key_inputs=hidden), mlp, before=True)
    table = Embedding("embed_tokens", rows + 1, hidden, Split.TENSOR, input=True)
    head = Linear("lm_heads", hidden, rows, False, "column", head=True)
    root: Children = (
        Block("embedding", (table,), repeat=books),
        *runs([None] * config.layers("num_hidden_layers"), lambda _: layer),
        Block("norm", (Norm("layer_norm", hidden, "layer", bias=True),)),
        Block("head", (head,), repeat=books),
    )
    limit = config.optional("max_position_embeddings", 1, 1 << 40)
    kind, stored = config.text("model_type"), stored_format(config)
    return Network("", kind, Block("model", root), rows, hidden, limit, stored=stored)


FAMILIES = {"musicgen_decoder": musicgen, "trocr": trocr}
