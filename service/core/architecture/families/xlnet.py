"""XLNet (Yang et al. 2019, arXiv 1906.08237) and XLM (1901.07291).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import classifier, encoder, norm, on_top
from service.core.architecture.families.trunk import head_width, labels, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Operator, Parameter, Split
from service.core.architecture.tree import Block

XLNET = {
    "vocab_size": 32000,
    "d_model": 1024,
    "n_layer": 24,
    "n_head": 16,
    "d_inner": 4096,
    "ff_activation": "gelu",
    "dropout": 0.1,
    "tie_word_embeddings": True,
}

XLM = {
    "vocab_size": 30145,
    "emb_dim": 2048,
    "n_layers": 12,
    "n_heads": 16,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "gelu_activation": True,
    "n_langs": 1,
    "use_lang_emb": True,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def _relative(config: Config, hidden: int, dropout: float) -> AttentionShape:
    """Attention with a product of relative positions, and biases for heads and segments."""
    heads = config.integer("n_head")
    width = head_width(config, hidden, heads, "n_head")
    if (config.optional("d_head", 1) or width) != width:
        raise refuse(config, "d_head", "d_model / n_head")
    free: Children = (
        Linear("r", hidden, hidden, split="column"),
        *(Parameter(f"r_{kind}_bias", (heads, width), Split.TENSOR) for kind in "rsw"),
        Parameter("seg_embed", (2, heads, width), Split.TENSOR),
    )
    return AttentionShape(
        hidden,
        heads,
        heads,
        width,
        rotary=False,
        causal=False,
        dropout=dropout,
        residual_dropout=dropout,
        names=("q", "k", "v", "o"),
        extra=free,
    )


def xlnet(config: Config) -> Network:
    """XLNetLMHeadModel: attention with relative positions and segments (Transformer-XL's)."""
    names = {"n_token": "vocab_size", "hidden_size": "d_model"}
    config = read(config, XLNET, names | {"num_hidden_layers": "n_layer"})
    hidden, dropout = config.integer("d_model"), probability(config, "dropout")
    mlp = plain_mlp(
        hidden,
        config.integer("d_inner"),
        config.text("ff_activation"),
        names=("layer_1", "layer_2"),
        dropout=dropout,
        inner_dropout=dropout,
    )
    layers = layer(
        attention(_relative(config, hidden, dropout)),
        norm("layer_norm", hidden),
        mlp,
        norm("ff_layer_norm", hidden),
        repeat=config.layers("n_layer"),
    )
    rows = config.rows("vocab_size")
    table = Embedding("word_embedding", rows, hidden, Split.TENSOR, input=True)
    tied = config.flag("tie_word_embeddings")
    lm = Linear("lm_loss", hidden, rows, True, "column", tied=tied, head=True)
    summary = Block("summary", (Linear("summary", hidden, hidden, True),))
    tops: Mapping[str, Children] = {
        "LMHeadModel": (Block("head", (lm,)),),
        "XLNetModel": (),
        "ForSequenceClassification": (summary, classifier(hidden, labels(config))),
        "ForMultipleChoice": (summary, classifier(hidden, 1)),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnsweringSimple": (classifier(hidden, labels(config)),),
    }
    embedding = Block("embedding", (Parameter("mask_emb", (1, 1, hidden)), table))
    return encoder(config, hidden, (embedding, layers, *on_top(config, tops, "LMHeadModel")))


def xlm(config: Config) -> Network:
    """XLMWithLMHeadModel: an encoder with embeddings of languages."""
    config = read(config, XLM, {"n_words": "vocab_size", "hidden_size": "emb_dim"})
    if config.flag("asm"):
        raise refuse(config, "asm", "false")
    hidden, heads = config.integer("emb_dim"), config.integer("n_heads")
    dropout = probability(config, "dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_heads"),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=config.flag("causal"),
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_lin", "k_lin", "v_lin", "out_lin"),
    )
    act = "gelu" if config.flag("gelu_activation") else "relu"
    mlp = plain_mlp(hidden, 4 * hidden, act, names=("lin1", "lin2"), dropout=dropout)
    layers = layer(
        attention(shape),
        norm("layer_norm1", hidden),
        mlp,
        norm("layer_norm2", hidden),
        repeat=config.layers("n_layers"),
    )
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    tables: list[Operator] = [
        Embedding("embeddings", rows, hidden, Split.TENSOR, input=True),
        Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden),
    ]
    if config.integer("n_langs", 0) > 1 and config.flag("use_lang_emb"):
        tables.append(Embedding("lang_embeddings", config.integer("n_langs"), hidden))
    tables.append(norm("layer_norm_emb", hidden))
    lm = Linear("proj", hidden, rows, True, "column", tied=tied, head=True)
    tops: Mapping[str, Children] = {
        "WithLMHeadModel": (Block("head", (lm,)),),
        "XLMModel": (),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnsweringSimple": (classifier(hidden, labels(config)),),
    }
    parts = (
        Block("embedding", (*tables, *dropped(hidden, dropout))),
        layers,
        *on_top(config, tops, "WithLMHeadModel"),
    )
    return encoder(config, hidden, parts)


FAMILIES = {
    "xlm": xlm,
    "xlnet": xlnet,
}
