"""The BERT line: an encoder with learned positions and a norm after each half of a layer.

bert (Devlin et al. 2018, arXiv 1810.04805; TinyBERT is one), roberta (1907.11692), xlm-roberta
(1911.02116), camembert, electra (2003.10555), distilbert (1910.01108), albert (1909.11942) and
layoutlm (1912.13318). Defaults are those of transformers 5.23.0. `architectures` decides what
stands on top; without it, the masked language model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    read,
    refuse,
    stored_format,
    unmasked,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Split,
)

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
ROBERTA = BERT | {"vocab_size": 50265, "max_position_embeddings": 512, "type_vocab_size": 2}
ELECTRA = BERT | {
    "embedding_size": 128,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
DISTILBERT = {
    "vocab_size": 30522,
    "dim": 768,
    "hidden_dim": 3072,
    "n_layers": 6,
    "n_heads": 12,
    "activation": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
ALBERT = BERT | {
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 4096,
    "num_hidden_groups": 1,
    "num_attention_heads": 64,
    "intermediate_size": 16384,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "inner_group_num": 1,
}
DISTIL_NAMES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
}

Top = Callable[[Config, int, int], Children]
"""(config, hidden, embedding width) -> what stands on the encoder."""


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


def roberta_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    """RoBERTa's classes: a dense layer of its own before the classes, no second loss."""
    tops = dict(bert_tops(config, hidden, width))
    dense = Block("classifier_dense", (Linear("dense", hidden, hidden, True),))
    tops["ForCausalLM"] = tops["ForMaskedLM"]
    tops["ForSequenceClassification"] = (dense, classifier(hidden, labels(config)))
    for name in ("ForPreTraining", "LMHeadModel", "ForNextSentencePrediction"):
        del tops[name]
    return tops


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


def _encoder_only(config: Config) -> Config:
    for name in ("is_decoder", "add_cross_attention"):
        if config.flag(name):
            raise refuse(config, name, "false")
    return config


def bert(config: Config) -> Network:
    """BertModel and its heads."""
    return _bert(config, BERT, bert_tops)


def roberta(config: Config) -> Network:
    """RobertaModel and its heads."""
    return _bert(config, ROBERTA, roberta_tops)


def roberta_kin(config: Config) -> Network:
    """CamembertModel and XLMRobertaModel: RoBERTa with other defaults."""
    return _bert(config, BERT, roberta_tops)


def layoutlm(config: Config) -> Network:
    """LayoutLMModel: a BERT with embeddings of the words' boxes."""
    defaults = BERT | {"max_2d_position_embeddings": 1024}
    config = read(config, defaults)
    rows = config.rows("max_2d_position_embeddings")
    width = config.integer("hidden_size")
    boxes = tuple(Embedding(f"{axis}_position_embeddings", rows, width) for axis in "xyhw")
    return _bert(config, defaults, _pooled_tops, boxes)


def _pooled_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    """BERT's classes over a model that always has its pooler."""
    tops = bert_tops(config, hidden, width)
    pooled = (pooler(hidden),)
    return {
        name: parts if parts[:1] == pooled else (*pooled, *parts) for name, parts in tops.items()
    }


def _bert(
    config: Config,
    defaults: Mapping[str, Any],
    tops: Callable[[Config, int, int], Mapping[str, Children]],
    extra: tuple[Operator, ...] = (),
) -> Network:
    config = _encoder_only(read(config, defaults))
    hidden = config.integer("hidden_size")
    layers = stack(config, encoder_layer(config, hidden))
    top = on_top(config, tops(config, hidden, hidden))
    return encoder(config, hidden, (embeddings(config, hidden, extra), layers, *top))


def electra(config: Config) -> Network:
    """ElectraForPreTraining (the discriminator) and ElectraForMaskedLM (the generator)."""
    config = _encoder_only(read(config, ELECTRA))
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    project: Children = ()
    if width != hidden:
        project = (Block("projection", (Linear("embeddings_project", width, hidden, True),)),)
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    dense = Linear("dense", hidden, hidden, True)
    generator = Block(
        "head",
        (
            Linear("dense", hidden, width, True),
            Activation("act", width, "gelu"),
            norm("LayerNorm", width),
            Linear("generator_lm_head", width, rows, True, "column", tied=tied, head=True),
        ),
    )
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForPreTraining": (
            Block("head", (dense, Activation("act", hidden), Linear("out", hidden, 1, True))),
        ),
        "ForMaskedLM": (generator,),
        "ForSequenceClassification": (
            Block("head", (dense, Linear("out_proj", hidden, labels(config), True))),
        ),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, 2, "qa_outputs"),),
    }
    layers = stack(config, encoder_layer(config, hidden))
    parts = (embeddings(config, width), *project, layers, *on_top(config, tops, "ForPreTraining"))
    return encoder(config, hidden, parts)


def distilbert(config: Config) -> Network:
    """DistilBertModel and its heads: BERT without token types and pooler."""
    names = {own: other for other, own in DISTIL_NAMES.items()}
    given = {names.get(key, key): value for key, value in (DISTILBERT | dict(config.data)).items()}
    given |= {
        "intermediate_size": given["hidden_dim"],
        "hidden_act": given["activation"],
        "hidden_dropout_prob": given["dropout"],
        "attention_probs_dropout_prob": given["attention_dropout"],
    }
    config = Config(given, path=config.path)
    hidden, rows = config.integer("hidden_size"), config.rows("vocab_size")
    tied = config.flag("tie_word_embeddings")
    lm = (
        Linear("vocab_transform", hidden, hidden, True),
        Activation("act", hidden, "gelu"),
        norm("vocab_layer_norm", hidden),
        Linear("vocab_projector", hidden, rows, True, "column", tied=tied, head=True),
    )
    classes = labels(config)
    dense = Linear("pre_classifier", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForMaskedLM": (Block("head", lm),),
        "ForSequenceClassification": (
            Block("head", (dense, Linear("classifier", hidden, classes, True))),
        ),
        "ForTokenClassification": (classifier(hidden, classes),),
        "ForQuestionAnswering": (classifier(hidden, 2, "qa_outputs"),),
    }
    layers = stack(config, encoder_layer(config, hidden))
    return encoder(config, hidden, (embeddings(config, hidden), layers, *on_top(config, tops)))


def albert(config: Config) -> Network:
    """AlbertModel and its heads: one set of layer weights used again and again."""
    config = _encoder_only(read(config, ALBERT))
    if config.integer("inner_group_num") != 1:
        raise refuse(config, "inner_group_num", "1")
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    layers, groups = config.layers("num_hidden_layers"), config.integer("num_hidden_groups")
    if layers % groups:
        raise refuse(config, "num_hidden_groups", "a divisor of num_hidden_layers")
    block = layer(*encoder_layer(config, hidden), repeat=layers // groups, shared=True)
    rows, act = config.rows("vocab_size"), config.text("hidden_act")
    lm = masked_lm(hidden, width, rows, config.flag("tie_word_embeddings"), act)
    tops: Mapping[str, Children] = {
        "Model": (pooler(hidden),),
        "ForMaskedLM": (lm,),
        "ForPreTraining": (pooler(hidden), lm, classifier(hidden, 2, "sop_classifier")),
        "ForSequenceClassification": (pooler(hidden), classifier(hidden, labels(config))),
    }
    project = Block("projection", (Linear("embedding_hidden_mapping_in", width, hidden, True),))
    parts = (embeddings(config, width), project, *((block,) * groups), *on_top(config, tops))
    return encoder(config, hidden, parts)


FAMILIES = {
    "albert": albert,
    "bert": bert,
    "camembert": roberta_kin,
    "distilbert": distilbert,
    "electra": electra,
    "layoutlm": layoutlm,
    "roberta": roberta,
    "xlm-roberta": roberta_kin,
}
