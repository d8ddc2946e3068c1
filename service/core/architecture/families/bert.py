"""The BERT line: an encoder with learned positions and a norm after each half of a layer.

bert (Devlin et al. 2018, arXiv 1810.04805; TinyBERT is one), roberta (1907.11692), xlm-roberta
(1911.02116), camembert, data2vec-text (2202.03555), electra (2003.10555), distilbert (1910.01108),
albert (1909.11942), ernie (1904.09223), rembert (2010.12821).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import (
    BERT,
    bert_tops,
    bidirectional,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
    pooler,
    stack,
)
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Embedding, Linear, Operator
from service.core.architecture.tree import Block

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

ERNIE = BERT | {"task_type_vocab_size": 3}

REMBERT = BERT | {
    "vocab_size": 250300,
    "hidden_size": 1152,
    "num_hidden_layers": 32,
    "num_attention_heads": 18,
    "input_embedding_size": 256,
    "output_embedding_size": 1664,
    "intermediate_size": 4608,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "tie_word_embeddings": False,
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


def bert(config: Config) -> Network:
    """BertModel and its heads."""
    return build_bert(config, BERT, bert_tops)


def roberta(config: Config) -> Network:
    """RobertaModel and its heads."""
    return build_bert(config, ROBERTA, roberta_tops)


def roberta_kin(config: Config) -> Network:
    """CamembertModel and XLMRobertaModel: RoBERTa with other defaults."""
    return build_bert(config, BERT, roberta_tops)


def build_bert(
    config: Config,
    defaults: Mapping[str, Any],
    tops: Callable[[Config, int, int], Mapping[str, Children]],
    extra: tuple[Operator, ...] = (),
) -> Network:
    """BERT with these defaults, what may stand on top, and more in its embeddings."""
    config = bidirectional(read(config, defaults))
    hidden = config.integer("hidden_size")
    layers = stack(config, encoder_layer(config, hidden))
    top = on_top(config, tops(config, hidden, hidden))
    return encoder(config, hidden, (embeddings(config, hidden, extra), layers, *top))


def widening(hidden: int, width: int) -> Children:
    """What makes embeddings of that width as wide as the layers (ELECTRA)."""
    if width == hidden:
        return ()
    return (Block("projection", (Linear("embeddings_project", width, hidden, True),)),)


def generator_head(config: Config, hidden: int, width: int) -> Block:
    """The masked language head of ELECTRA's generator, on embeddings of that width."""
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    return Block(
        "head",
        (
            Linear("dense", hidden, width, True),
            Activation("act", width, "gelu"),
            norm("LayerNorm", width),
            Linear("generator_lm_head", width, rows, True, "column", tied=tied, head=True),
        ),
    )


def electra(config: Config) -> Network:
    """ElectraForPreTraining (the discriminator) and ElectraForMaskedLM (the generator)."""
    config = bidirectional(read(config, ELECTRA))
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    dense = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForPreTraining": (
            Block("head", (dense, Activation("act", hidden), Linear("out", hidden, 1, True))),
        ),
        "ForMaskedLM": (generator_head(config, hidden, width),),
        "ForSequenceClassification": (
            Block("head", (dense, Linear("out_proj", hidden, labels(config), True))),
        ),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, 2, "qa_outputs"),),
    }
    layers = stack(config, encoder_layer(config, hidden))
    start = (embeddings(config, width), *widening(hidden, width))
    return encoder(config, hidden, (*start, layers, *on_top(config, tops, "ForPreTraining")))


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
    config = bidirectional(read(config, ALBERT))
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


def ernie(config: Config) -> Network:
    """ErnieModel and its heads: BERT, with embeddings of tasks where asked for."""
    config = bidirectional(read(config, ERNIE))
    hidden = config.integer("hidden_size")
    extra: tuple[Operator, ...] = ()
    if config.flag("use_task_id"):
        rows = config.rows("task_type_vocab_size")
        extra = (Embedding("task_type_embeddings", rows, hidden),)
    top = on_top(config, bert_tops(config, hidden, hidden))
    layers = stack(config, encoder_layer(config, hidden))
    return encoder(config, hidden, (embeddings(config, hidden, extra), layers, *top))


def rembert(config: Config) -> Network:
    """RemBertForMaskedLM: narrow input embeddings, wide output embeddings of their own."""
    config = bidirectional(read(config, REMBERT))
    hidden, rows = config.integer("hidden_size"), config.rows("vocab_size")
    width, wide = config.integer("input_embedding_size"), config.integer("output_embedding_size")
    if config.flag("tie_word_embeddings"):
        raise refuse(config, "tie_word_embeddings", "false")
    mapping = Linear("embedding_hidden_mapping_in", width, hidden, True)
    lm = Block(
        "head",
        (
            Linear("dense", hidden, wide, True),
            Activation("activation", wide, config.text("hidden_act")),
            norm("LayerNorm", wide),
            Linear("decoder", wide, rows, True, "column", head=True),
        ),
    )
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (lm,),
        "Model": (pooler(hidden),),
        "ForSequenceClassification": (pooler(hidden), classifier(hidden, labels(config))),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    parts = (
        embeddings(config, width),
        Block("projection", (mapping,)),
        stack(config, encoder_layer(config, hidden)),
        *on_top(config, tops),
    )
    return encoder(config, hidden, parts)


FAMILIES = {
    "albert": albert,
    "bert": bert,
    "camembert": roberta_kin,
    "data2vec-text": roberta_kin,
    "distilbert": distilbert,
    "electra": electra,
    "ernie": ernie,
    "rembert": rembert,
    "roberta": roberta,
    "xlm-roberta": roberta_kin,
}
