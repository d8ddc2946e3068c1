"""Encoder-decoders beside BART and T5.

led (Beltagy et al. 2020, arXiv 2004.05150), prophetnet (2001.04063), t5gemma (2504.06225). Both
towers run the request's sequence length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import BART, Line, tower_layer
from service.core.architecture.families.bert import encoder, norm, on_top
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
from service.core.architecture.families.dense import biased, every
from service.core.architecture.families.encoder_kin import globally_read, windows_of
from service.core.architecture.families.gemma import GEMMA2, geglu
from service.core.architecture.families.trunk import (
    SLIDING,
    head_width,
    kinds,
    probability,
    read,
    refuse,
    runs,
    ties,
    window,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Embedding, Linear, Norm, Operator, Parameter, Split
from service.core.architecture.polynomial import TOKENS, Stream

LED = BART | {
    "max_encoder_position_embeddings": 16384,
    "max_decoder_position_embeddings": 1024,
    "attention_window": 512,
}
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
CLASS = "ForConditionalGeneration"


def shared_tables(config: Config, hidden: int, name: str) -> tuple[Embedding, Embedding, Embedding]:
    """The shared table, and its two aliases in the towers."""
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    shared = Embedding(name, rows, hidden, Split.TENSOR, input=True)
    alias = replace(shared, tied=tied, input=False)
    return shared, replace(alias, name="encoder.embed"), replace(alias, name="decoder.embed")


def led(config: Config) -> Network:
    """LEDForConditionalGeneration: BART with Longformer's attention in the encoder."""
    config = read(config, LED)
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))
    line = Line(position_offset=None)

    def make(reach: int) -> Children:
        block, *rest = tower_layer(config, "encoder", line)
        return globally_read(block, hidden, reach), *rest

    def table(name: str, side: str, own: tuple[Operator, ...]) -> Block:
        limit = config.rows(f"max_{side}_position_embeddings")
        places = Embedding("embed_positions", limit, hidden)
        return Block(name, (*own, places, norm("layernorm_embedding", hidden), *dropout))

    parts: Children = (
        table("embedding", "encoder", (shared, heard)),
        *runs(windows_of(config, config.layers("encoder_layers")), make),
        table("decoder_embedding", "decoder", (spoken,)),
        layer(
            *tower_layer(config, "decoder", line, TOKENS), repeat=config.layers("decoder_layers")
        ),
    )
    tied = config.flag("tie_word_embeddings")
    tops: dict[str, Children] = {CLASS: (head(hidden, rows, tied),), "Model": ()}
    network = encoder(config, hidden, (*parts, *on_top(config, tops, CLASS)))
    limit = config.integer("max_encoder_position_embeddings")
    return replace(network, causal=True, sequence_limit=limit)


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
    listening = layer(
        attention(_prophet_shape(config, "encoder")),
        norm("self_attn_layer_norm", hidden),
        _prophet_mlp(config, "encoder"),
        norm("feed_forward_layer_norm", hidden),
        repeat=config.layers("num_encoder_layers"),
    )
    shape = _prophet_shape(config, "decoder")
    buckets = config.rows("num_buckets") * shape.heads
    relative = Linear("relative_pos_embeddings", hidden, buckets, True)
    crossed = replace(shape, causal=False, keys=TOKENS, key_inputs=hidden)
    speaking = layer(
        attention(replace(shape, extra=(relative,))),
        norm("self_attn_layer_norm", hidden),
        replace(attention(crossed), name="cross_attention"),
        norm("cross_attn_layer_norm", hidden),
        _prophet_mlp(config, "decoder"),
        norm("feed_forward_layer_norm", hidden),
        repeat=config.layers("num_decoder_layers"),
    )
    # The main stream and one stream for each predicted token pass through the decoder together.
    streams = Stream(0.0, 1.0 + ngram)
    ahead = Parameter("ngram_embeddings", (ngram, hidden))
    parts: Children = (
        Block("embedding", (shared, heard, places, normed, *dropout)),
        listening,
        Block("decoder_embedding", (spoken, places, ahead, normed, *dropout)),
        replace(speaking, stream=streams),
    )
    top = head(hidden, rows, config.flag("tie_word_embeddings"))
    tops: dict[str, Children] = {
        CLASS: (replace(top, stream=Stream(0.0, float(ngram))),),
        "Model": (),
    }
    return replace(encoder(config, hidden, (*parts, *on_top(config, tops, CLASS))), causal=True)


def _gemma_tower(config: Config, source: int | None = None) -> Children:
    """Gemma 2's layers; a decoder's read a source of that width after their own attention."""
    hidden, norms = config.integer("hidden_size"), Norm("norm", config.integer("hidden_size"))
    shape = biased(config, causal=source is not None)
    size = window(config)
    mlp = geglu(config)

    def around(block: Block, name: str) -> Children:
        before = replace(norms, name=f"pre_{name}_layernorm")
        return before, block, replace(norms, name=f"post_{name}_layernorm")

    def make(kind: str) -> Children:
        reach = size if kind == SLIDING else None
        if reach is not None and source is None:
            reach *= 2
        halves = around(attention(replace(shape, window=reach)), "self_attn")
        if source is not None:
            crossed = replace(shape, causal=False, rotary=False, keys=TOKENS, key_inputs=source)
            block = replace(attention(crossed), name="cross_attention")
            halves = (*halves, *around(block, "cross_attn"))
        return (*halves, *around(mlp, "feedforward"))

    table = Embedding("embed_tokens", config.rows("vocab_size"), hidden, Split.TENSOR)
    layers = runs(kinds(config, every(2)), make)
    ends = Block("norm", (replace(norms, name="norm"),))
    name = "embedding" if source is None else "decoder_embedding"
    return Block(name, (replace(table, input=source is None),)), *layers, ends


def t5gemma(config: Config) -> Network:
    """T5GemmaForConditionalGeneration: Gemma 2's layers as an encoder and a decoder."""
    parts = [read(config.section(name), GEMMA2) for name in ("encoder", "decoder")]
    listening, speaking = parts
    width = listening.integer("hidden_size")
    tied = ties(config)
    rows, hidden = speaking.rows("vocab_size"), speaking.integer("hidden_size")
    tops: dict[str, Children] = {CLASS: (head(hidden, rows, tied),), "Model": ()}
    body = (*_gemma_tower(listening), *_gemma_tower(speaking, width))
    network = encoder(config, hidden, (*body, *on_top(config, tops, CLASS)))
    limit = speaking.integer("max_position_embeddings", 1, 1 << 40)
    return replace(network, causal=True, vocabulary=rows, sequence_limit=limit)


FAMILIES = {"led": led, "prophetnet": prophetnet, "t5gemma": t5gemma}
