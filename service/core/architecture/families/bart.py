"""The BART line: encoder-decoders with absolute positions and LayerNorm.

bart (Lewis et al. 2019, arXiv 1910.13461), mbart (2001.08210), pegasus (1912.08777), marian
(1804.00344), blenderbot (2004.13637), m2m_100 (2010.11125), plbart. Both towers run the request's
sequence length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from service.core.architecture.families.trunk import head_width, labels, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Embedding,
    Linear,
    Operator,
    Split,
)
from service.core.architecture.polynomial import TOKENS, Stream
from service.core.architecture.tree import Block

BART = {
    "vocab_size": 50265,
    "max_position_embeddings": 1024,
    "d_model": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "tie_word_embeddings": True,
}

PEGASUS = BART | {"decoder_start_token_id": 0}

MARIAN = BART | {"vocab_size": 58101, "share_encoder_decoder_embeddings": True}

BLENDERBOT = BART | {
    "vocab_size": 8008,
    "max_position_embeddings": 128,
    "d_model": 2560,
    "encoder_layers": 2,
    "encoder_ffn_dim": 10240,
    "encoder_attention_heads": 32,
    "decoder_layers": 24,
    "decoder_ffn_dim": 10240,
    "decoder_attention_heads": 32,
}

BLENDERBOT_SMALL = BART | {
    "max_position_embeddings": 512,
    "d_model": 512,
    "encoder_layers": 8,
    "encoder_ffn_dim": 2048,
    "decoder_layers": 8,
    "decoder_ffn_dim": 2048,
}

M2M = BART | {"vocab_size": 128112, "activation_function": "relu", "attention_dropout": 0.1}

PLBART = BART | {
    "vocab_size": 50005,
    "d_model": 768,
    "encoder_layers": 6,
    "encoder_ffn_dim": 3072,
    "encoder_attention_heads": 12,
    "decoder_layers": 6,
    "decoder_ffn_dim": 3072,
    "decoder_attention_heads": 12,
    "attention_dropout": 0.1,
}


@dataclass(frozen=True)
class Line:
    """What differs between the members."""

    before: bool = False
    """Norms stand before each half of a layer, and one at the end of each tower."""
    position_offset: int | None = 0
    """Rows of the position table beyond the maximum; None where it holds no parameters."""
    embedding_norm: bool = True
    key_bias: bool = True


CLASS = "ForConditionalGeneration"

PRE_NORM = Line(before=True, position_offset=None, embedding_norm=False)


def tower_layer(config: Config, tower: str, line: Line, source: Stream | None = None) -> Children:
    """One layer of a tower; a decoder's has cross attention to `source`."""
    hidden, heads = config.integer("d_model"), config.integer(f"{tower}_attention_heads")
    dropout = probability(config, "dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, f"{tower}_attention_heads"),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=tower == "decoder",
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )
    halves = [(_keyless(attention(shape), line), norm("self_attn_layer_norm", hidden))]
    if source is not None:
        crossed = replace(shape, causal=False, keys=source, key_inputs=hidden)
        block = replace(attention(crossed), name="cross_attention")
        halves.append((_keyless(block, line), norm("encoder_attn_layer_norm", hidden)))
    mlp = plain_mlp(
        hidden,
        config.integer(f"{tower}_ffn_dim"),
        config.text("activation_function"),
        names=("fc1", "fc2"),
        dropout=dropout,
        inner_dropout=probability(config, "activation_dropout"),
    )
    halves.append((mlp, norm("final_layer_norm", hidden)))
    ordered = [(after, half) if line.before else (half, after) for half, after in halves]
    return tuple(part for pair in ordered for part in pair)


def _keyless(block: Block, line: Line) -> Block:
    """The block without a bias on its keys, where the line has none."""
    return block if line.key_bias else replace(block, children=tuple(map(_bare, block.children)))


def _bare(node: Block | Operator) -> Block | Operator:
    if isinstance(node, Block):
        return replace(node, children=tuple(map(_bare, node.children)))
    if isinstance(node, Linear) and node.name == "k_proj":
        return replace(node, bias=False)
    return node


def tower_ends(config: Config, line: Line, tower: str) -> tuple[Block, ...]:
    """The norm at the end of a tower whose norms stand before."""
    return (Block(f"{tower}_norm", (norm("layer_norm", config.integer("d_model")),)),) * line.before


def _input(config: Config, line: Line, name: str, tables: tuple[Operator, ...]) -> Block:
    hidden = config.integer("d_model")
    found = list(tables)
    if line.position_offset is not None:
        rows = config.rows("max_position_embeddings") + line.position_offset
        found.append(Embedding("embed_positions", rows, hidden))
    if line.embedding_norm:
        found.append(norm("layernorm_embedding", hidden))
    return Block(name, (*found, *dropped(hidden, probability(config, "dropout"))))


def seq2seq(config: Config, line: Line, classes: str = "ForConditionalGeneration") -> Network:
    """Two towers of text over one shared vocabulary."""
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    shared = Embedding("shared", rows, hidden, Split.TENSOR, input=True)
    tied = config.flag("tie_word_embeddings")
    alias = replace(shared, tied=tied, input=False)
    towers = (
        layer(*tower_layer(config, "encoder", line), repeat=config.layers("encoder_layers")),
        layer(
            *tower_layer(config, "decoder", line, TOKENS), repeat=config.layers("decoder_layers")
        ),
    )
    parts: Children = (
        _input(config, line, "embedding", (shared, replace(alias, name="encoder.embed_tokens"))),
        towers[0],
        *tower_ends(config, line, "encoder"),
        _input(config, line, "decoder_embedding", (replace(alias, name="decoder.embed_tokens"),)),
        towers[1],
        *tower_ends(config, line, "decoder"),
    )
    classifier = Block(
        "head",
        (Linear("dense", hidden, hidden, True), Linear("out", hidden, labels(config), True)),
    )
    tops: dict[str, Children] = {
        classes: (head(hidden, rows, tied),),
        "Model": (),
        "ForSequenceClassification": (classifier,),
        "ForQuestionAnswering": (Block("head", (Linear("qa_outputs", hidden, 2, True),)),),
    }
    return replace(encoder(config, hidden, (*parts, *on_top(config, tops, classes))), causal=True)


def _member(defaults: Mapping[str, Any], line: Line) -> Callable[[Config], Network]:
    def build(config: Config) -> Network:
        return seq2seq(read(config, defaults), line)

    return build


def marian(config: Config) -> Network:
    """MarianMTModel: fixed positions; source and target may have vocabularies of their own."""
    config = read(config, MARIAN)
    own = config.get("decoder_vocab_size")
    if not config.flag("share_encoder_decoder_embeddings") or (
        own is not None and own != config.get("vocab_size")
    ):
        raise refuse(config, "share_encoder_decoder_embeddings", "true with one vocabulary")
    return seq2seq(config, Line(embedding_norm=False), "MTModel")


def shared_tables(config: Config, hidden: int, name: str) -> tuple[Embedding, Embedding, Embedding]:
    """The shared table, and its two aliases in the towers."""
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    shared = Embedding(name, rows, hidden, Split.TENSOR, input=True)
    alias = replace(shared, tied=tied, input=False)
    return shared, replace(alias, name="encoder.embed"), replace(alias, name="decoder.embed")


def mvp(config: Config) -> Network:
    """MvpForConditionalGeneration: BART, without the prompts that may be tuned on it."""
    config = read(config, BART | {"vocab_size": 50267})
    if config.flag("use_prompt"):
        raise refuse(config, "use_prompt", "false")
    return seq2seq(config, Line(position_offset=2))


def tower_norm(config: Config, name: str) -> Block:
    """The norm at the end of a tower whose layers begin with theirs."""
    return Block(name, (norm("layer_norm", config.integer("d_model")),))


def conditional(config: Config, parts: Children) -> Network:
    """Both towers under a language model's head."""
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    tied = config.flag("tie_word_embeddings")
    tops: dict[str, Children] = {CLASS: (head(hidden, rows, tied),), "Model": ()}
    return replace(encoder(config, hidden, (*parts, *on_top(config, tops, CLASS))), causal=True)


FAMILIES = {
    "bart": _member(BART | {"num_labels": 3}, Line(position_offset=2)),
    "blenderbot": _member(BLENDERBOT, Line(before=True, embedding_norm=False)),
    "blenderbot-small": _member(BLENDERBOT_SMALL, Line()),
    "m2m_100": _member(M2M, Line(before=True, position_offset=None, embedding_norm=False)),
    "marian": marian,
    "mbart": _member(BART, Line(before=True, position_offset=2)),
    "mvp": mvp,
    "pegasus": _member(PEGASUS, Line(before=True, embedding_norm=False)),
    "plbart": _member(PLBART, Line(position_offset=2)),
}
