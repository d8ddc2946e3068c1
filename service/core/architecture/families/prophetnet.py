"""ProphetNet: a decoder that predicts the next n tokens at once (Qi et al. 2020, arXiv 2001.04063).

Both towers run the request's sequence length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import CLASS, shared_tables
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    head,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.trunk import head_width, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Parameter
from service.core.architecture.polynomial import TOKENS, Stream
from service.core.architecture.tree import Block

PROPHETNET = {
    "vocab_size": 30522,
    "hidden_size": 1024,
    "activation_function": "gelu",
    "encoder_ffn_dim": 4096,
    "num_encoder_layers": 12,
    "num_encoder_attention_heads": 16,
    "decoder_ffn_dim": 4096,
    "num_decoder_layers": 12,
    "num_decoder_attention_heads": 16,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "dropout": 0.1,
    "max_position_embeddings": 512,
    "ngram": 2,
    "num_buckets": 32,
    "tie_word_embeddings": True,
}


def _prophet_shape(config: Config, tower: str) -> AttentionShape:
    hidden, name = config.integer("hidden_size"), f"num_{tower}_attention_heads"
    heads = config.integer(name)
    return AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, name),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=tower == "decoder",
        dropout=probability(config, "attention_dropout"),
        residual_dropout=probability(config, "dropout"),
        names=("query_proj", "key_proj", "value_proj", "out_proj"),
    )


def _prophet_mlp(config: Config, tower: str) -> Block:
    return plain_mlp(
        config.integer("hidden_size"),
        config.integer(f"{tower}_ffn_dim"),
        config.text("activation_function"),
        names=("intermediate", "output"),
        dropout=probability(config, "dropout"),
        inner_dropout=probability(config, "activation_dropout"),
    )


def _listening(config: Config, hidden: int) -> Block:
    return layer(
        attention(_prophet_shape(config, "encoder")),
        norm("self_attn_layer_norm", hidden),
        _prophet_mlp(config, "encoder"),
        norm("feed_forward_layer_norm", hidden),
        repeat=config.layers("num_encoder_layers"),
    )


def _speaking(config: Config, hidden: int) -> Block:
    shape = _prophet_shape(config, "decoder")
    buckets = config.rows("num_buckets") * shape.heads
    relative = Linear("relative_pos_embeddings", hidden, buckets, True)
    crossed = replace(shape, causal=False, keys=TOKENS, key_inputs=hidden)
    return layer(
        attention(replace(shape, extra=(relative,))),
        norm("self_attn_layer_norm", hidden),
        replace(attention(crossed), name="cross_attention"),
        norm("cross_attn_layer_norm", hidden),
        _prophet_mlp(config, "decoder"),
        norm("feed_forward_layer_norm", hidden),
        repeat=config.layers("num_decoder_layers"),
    )


def prophetnet(config: Config) -> Network:
    """ProphetNetForConditionalGeneration: the decoder predicts the next `ngram` tokens at once."""
    config = read(config, PROPHETNET | {"add_cross_attention": True})
    if not config.flag("add_cross_attention"):
        raise refuse(config, "add_cross_attention", "true")
    hidden, rows, ngram = (
        config.integer("hidden_size"),
        config.rows("vocab_size"),
        config.integer("ngram"),
    )
    shared, heard, spoken = shared_tables(config, hidden, "word_embeddings")
    dropout = dropped(hidden, probability(config, "dropout"))
    limit = config.rows("max_position_embeddings")
    places = Embedding("position_embeddings", limit, hidden)
    normed = norm("embeddings_layer_norm", hidden)
    # The main stream and one stream for each predicted token pass through the decoder together.
    streams = Stream(0.0, 1.0 + ngram)
    ahead = Parameter("ngram_embeddings", (ngram, hidden))
    parts: Children = (
        Block("embedding", (shared, heard, places, normed, *dropout)),
        _listening(config, hidden),
        Block("decoder_embedding", (spoken, places, ahead, normed, *dropout)),
        replace(_speaking(config, hidden), stream=streams),
    )
    top = head(hidden, rows, config.flag("tie_word_embeddings"))
    tops: dict[str, Children] = {
        CLASS: (replace(top, stream=Stream(0.0, float(ngram))),),
        "Model": (),
    }
    return replace(encoder(config, hidden, (*parts, *on_top(config, tops, CLASS))), causal=True)


FAMILIES = {
    "prophetnet": prophetnet,
}
