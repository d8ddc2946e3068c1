"""Longformer and LED: sliding windows, and some tokens that see and are seen by all.

Both are of Beltagy et al. 2020 (arXiv 2004.05150). LED's two towers run the request's sequence
length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import BART, CLASS, Line, shared_tables, tower_layer
from service.core.architecture.families.bert import roberta_tops
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, head, layer
from service.core.architecture.families.encoder import (
    BERT,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    norm,
    on_top,
    pooler,
)
from service.core.architecture.families.trunk import labels, probability, read, refuse, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Embedding, Linear, Operator
from service.core.architecture.polynomial import TOKENS, Stream
from service.core.architecture.tree import Block

LED = BART | {
    "max_encoder_position_embeddings": 16384,
    "max_decoder_position_embeddings": 1024,
    "attention_window": 512,
}


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


def longformer(config: Config) -> Network:
    """LongformerForMaskedLM: attention within a window, and products for global tokens."""
    config = read(config, BERT | {"attention_window": 512})
    hidden = config.integer("hidden_size")

    def make(reach: int) -> Children:
        block, *rest = encoder_layer(config, hidden)
        return globally_read(block, hidden, reach), *rest

    layers = runs(windows_of(config, config.layers("num_hidden_layers")), make)
    tops = dict(roberta_tops(config, hidden, hidden))
    del tops["ForCausalLM"]
    tops["ForMultipleChoice"] = (pooler(hidden), classifier(hidden, 1))
    tops["ForQuestionAnswering"] = (classifier(hidden, labels(config), "qa_outputs"),)
    parts = (embeddings(config, hidden), *layers, *on_top(config, tops))
    return encoder(config, hidden, parts)


def windows_of(config: Config, count: int) -> list[int]:
    """`attention_window`: one number, or one for each layer."""
    given = config.get("attention_window")
    windows = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(windows) != count:
        raise refuse(config, "attention_window", "a number, or one for each layer")
    read_one = [Config({"attention_window": item}, path=config.path) for item in windows]
    return [item.integer("attention_window", 2) for item in read_one]


def globally_read(block: Block | Operator, hidden: int, reach: int) -> Block:
    """Longformer's attention: a window around each token, and products for global tokens.

    Global tokens are few: their products hold weights and do next to no work.
    """
    assert isinstance(block, Block)
    names = ("query_global", "key_global", "value_global")
    products = tuple(Linear(name, hidden, hidden, True, "column") for name in names)
    found = tuple(
        replace(child, window=reach + 1) if isinstance(child, Attention) else child
        for child in block.children
    )
    unused = Block("global", products, stream=Stream(0.0, 0.0))
    return replace(block, children=(*found, unused))


FAMILIES = {
    "led": led,
    "longformer": longformer,
}
