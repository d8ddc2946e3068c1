"""The common encoder: what BERT's descendants share, and the frame of any encoder-only network.

`architectures` decides what stands on top; without it, the masked language model (Devlin et al.
2018, arXiv 1810.04805).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    Children,
    attention,
    dropped,
    layer,
    plain_mlp,
)
from service.core.architecture.families.trunk import (
    labels,
    probability,
    refuse,
    stored_format,
    unmasked,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.tree import Block

BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "tie_word_embeddings": True,
}


def norm(name: str, width: int) -> Norm:
    """A LayerNorm with weight and bias."""
    return Norm(name, width, "layer", bias=True)


def bidirectional(config: Config) -> Config:
    """The configuration of an encoder; refuses one that asks for a decoder."""
    for name in ("is_decoder", "add_cross_attention"):
        if config.flag(name):
            raise refuse(config, name, "false")
    return config


def stack(config: Config, children: Children) -> Block:
    """The layers, as many as the configuration says."""
    return layer(*children, repeat=config.layers("num_hidden_layers"))


def encoder_layer(config: Config, hidden: int) -> Children:
    """Attention and feed-forward, each followed by its norm, with BERT's field names."""
    heads = config.integer("num_attention_heads")
    dropout = probability(config, "hidden_dropout_prob")
    shape = unmasked(
        config,
        hidden,
        heads,
        dropout=probability(config, "attention_probs_dropout_prob"),
        residual_dropout=dropout,
        names=("query", "key", "value", "dense"),
    )
    mlp = plain_mlp(
        hidden,
        config.integer("intermediate_size"),
        config.text("hidden_act"),
        names=("intermediate", "output"),
        dropout=dropout,
    )
    return attention(shape), norm("attention_norm", hidden), mlp, norm("output_norm", hidden)


def embeddings(config: Config, width: int, extra: tuple[Operator, ...] = ()) -> Block:
    """Words, positions and token types, their norm and dropout."""
    if config.text("position_embedding_type", "absolute") != "absolute":
        raise refuse(config, "position_embedding_type", "absolute")
    tables: list[Operator] = [
        Embedding("word_embeddings", config.rows("vocab_size"), width, Split.TENSOR, input=True),
        Embedding("position_embeddings", config.rows("max_position_embeddings"), width),
        *extra,
    ]
    if config.get("type_vocab_size") is not None and config.rows("type_vocab_size"):
        tables.append(Embedding("token_type_embeddings", config.rows("type_vocab_size"), width))
    dropout = probability(config, "hidden_dropout_prob")
    return Block("embedding", (*tables, norm("LayerNorm", width), *dropped(width, dropout)))


def pooler(hidden: int) -> Block:
    """The first token's vector through a dense layer and a tanh."""
    return Block(
        "pooler", (Linear("dense", hidden, hidden, True), Activation("tanh", hidden, "tanh"))
    )


def masked_lm(
    hidden: int, width: int, rows: int, tied: bool, act: str, transform: bool = True
) -> Block:
    """Dense, activation and norm, then the vocabulary with a bias that two names share."""
    dense: tuple[Operator, ...] = (
        Linear("transform", hidden, width, True),
        Activation("transform_act", width, act),
        norm("transform_norm", width),
    )
    decoder = Linear("decoder", width, rows, split="column", tied=tied, head=True)
    bias = Parameter("bias", (rows,), Split.TENSOR)
    shared = (Parameter("decoder_bias", (rows,), Split.TENSOR, alias=True),) if tied else ()
    free = () if tied else (Parameter("decoder_bias", (rows,), Split.TENSOR),)
    return Block("head", (*(dense if transform else ()), decoder, bias, *shared, *free))


def bert_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    """What each class of the BERT line puts on the encoder."""
    act, tied = config.text("hidden_act"), config.flag("tie_word_embeddings")
    rows = config.rows("vocab_size")
    lm = masked_lm(hidden, width, rows, tied, act)
    return {
        "Model": (pooler(hidden),),
        "ForMaskedLM": (lm,),
        "ForPreTraining": (pooler(hidden), lm, classifier(hidden, 2, "seq_relationship")),
        "LMHeadModel": (lm,),
        "ForSequenceClassification": (pooler(hidden), classifier(hidden, labels(config))),
        "ForMultipleChoice": (pooler(hidden), classifier(hidden, 1)),
        "ForNextSentencePrediction": (pooler(hidden), classifier(hidden, 2)),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, 2, "qa_outputs"),),
    }


def classifier(hidden: int, classes: int, name: str = "classifier") -> Block:
    """One product on the classes."""
    return Block("head", (Linear(name, hidden, classes, True),))


def on_top(config: Config, tops: Mapping[str, Children], default: str = "ForMaskedLM") -> Children:
    """The children for the class that `architectures` names."""
    named = config.sequence("architectures")
    kind = named[0] if named and isinstance(named[0], str) else default
    for ending in sorted(tops, key=len, reverse=True):
        if kind.endswith(ending):
            return tops[ending]
    raise refuse(config, "architectures", ", ".join(sorted(tops)))


def encoder(config: Config, hidden: int, parts: Children, **changes: Any) -> Network:
    """An encoder-only network of these parts."""
    rows = config.rows("vocab_size") if config.get("vocab_size") is not None else 0
    return Network(
        "",
        config.text("model_type"),
        Block("model", parts),
        rows,
        hidden,
        config.optional("max_position_embeddings", 1, 1 << 40),
        causal=False,
        stored=stored_format(config),
        **changes,
    )
