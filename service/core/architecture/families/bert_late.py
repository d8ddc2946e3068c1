"""More of BERT's relatives.

ernie (Sun et al. 2019, arXiv 1904.09223), data2vec-text (2202.03555), ibert (2101.01321), rembert
(2010.12821), big_bird (2007.14062), yoso (2111.09714), mra (2207.10284), mobilebert (2004.02984).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import (
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
    roberta_kin,
    stack,
)
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped
from service.core.architecture.families.trunk import agree, labels, probability, read, refuse
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)

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
BIG_BIRD = BERT | {
    "vocab_size": 50358,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 4096,
    "attention_type": "block_sparse",
    "use_bias": True,
    "block_size": 64,
    "num_random_blocks": 3,
}
YOSO = BERT | {"vocab_size": 50265, "max_position_embeddings": 4096, "type_vocab_size": 1}
MRA = YOSO | {"max_position_embeddings": 512}
MOBILEBERT = BERT | {
    "hidden_size": 512,
    "num_hidden_layers": 24,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "embedding_size": 128,
    "trigram_input": True,
    "use_bottleneck": True,
    "intra_bottleneck_size": 128,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
}


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


def ibert(config: Config) -> Network:
    """IBertForMaskedLM: RoBERTa prepared for integer arithmetic, here in floating point."""
    if config.flag("quant_mode"):
        raise refuse(config, "quant_mode", "false")
    return roberta_kin(config)


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


def big_bird(config: Config) -> Network:
    """BigBirdForMaskedLM: attention to neighbouring, global and random blocks."""
    config = bidirectional(read(config, BIG_BIRD))
    hidden, kind = config.integer("hidden_size"), config.text("attention_type")
    if kind not in ("block_sparse", "original_full"):
        raise refuse(config, "attention_type", "block_sparse, original_full")
    own, first, mlp, second = encoder_layer(config, hidden)
    assert isinstance(own, Block)
    # Three neighbours, two global blocks and the random ones (section 3 of the paper).
    reach = config.integer("block_size") * (5 + config.integer("num_random_blocks", 0))
    products = ("query", "key", "value")
    found: list[Block | Operator] = []
    for child in own.children:
        if isinstance(child, Attention) and kind == "block_sparse":
            child = replace(child, window=reach)
        elif isinstance(child, Linear) and child.name in products:
            child = replace(child, bias=config.flag("use_bias"))
        found.append(child)
    pool, lm = pooler(hidden), bert_tops(config, hidden, hidden)["ForMaskedLM"]
    tops: Mapping[str, Children] = {"ForMaskedLM": (pool, *lm), "Model": (pool,)}
    layers = stack(config, (replace(own, children=tuple(found)), first, mlp, second))
    return encoder(config, hidden, (embeddings(config, hidden), layers, *on_top(config, tops)))


def _shifted(config: Config, defaults: Mapping[str, object]) -> Network:
    """BERT without a pooler, with two rows more of positions."""
    config = read(config, defaults)
    hidden = config.integer("hidden_size")
    if config.get("conv_window") is not None:
        raise refuse(config, "conv_window", "null")
    limit = config.rows("max_position_embeddings") + 2
    grown = Config({**config.data, "max_position_embeddings": limit}, config.defaults, config.path)
    tops = bert_tops(config, hidden, hidden)
    wanted: dict[str, Children] = {
        "ForMaskedLM": tops["ForMaskedLM"],
        "Model": (),
        "ForTokenClassification": tops["ForTokenClassification"],
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    layers = stack(config, encoder_layer(config, hidden))
    return encoder(config, hidden, (embeddings(grown, hidden), layers, *on_top(config, wanted)))


def yoso(config: Config) -> Network:
    """YosoForMaskedLM: attention sampled by hashing."""
    return _shifted(config, YOSO)


def mra(config: Config) -> Network:
    """MraForMaskedLM: attention at several resolutions."""
    return _shifted(config, MRA)


def mobilebert(config: Config) -> Network:
    """MobileBertForMaskedLM: narrow layers between bottlenecks."""
    config = read(config, MOBILEBERT)
    usual = ("trigram_input", "use_bottleneck", "key_query_shared_bottleneck")
    for name in usual:
        if not config.flag(name):
            raise refuse(config, name, "true")
    if config.flag("use_bottleneck_attention"):
        raise refuse(config, "use_bottleneck_attention", "false")
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    narrow, rows = config.integer("intra_bottleneck_size"), config.rows("vocab_size")
    agree(config, "true_hidden_size", narrow)
    tables = (
        Embedding("word_embeddings", rows, width, Split.TENSOR, input=True),
        Linear("embedding_transformation", 3 * width, hidden, True),
        Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden),
        Embedding("token_type_embeddings", config.rows("type_vocab_size"), hidden),
        norm("LayerNorm", hidden),
    )
    tied = config.flag("tie_word_embeddings")
    lm = masked_lm(hidden, hidden, rows, tied, "relu")
    # The vocabulary's matrix is the narrow table beside a dense part that makes up the width.
    wide = Linear("decoder", width, rows, split="column", tied=tied, head=True)
    rest = Parameter("dense", (hidden - width, rows), Split.TENSOR)
    swapped = tuple(wide if child.name == "decoder" else child for child in lm.children)
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (replace(lm, children=(*swapped, rest)),),
        "Model": (pooler(hidden),) if config.get("classifier_activation") is not False else (),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    layers = stack(config, _mobile_layer(config, hidden, narrow))
    return encoder(config, hidden, (Block("embedding", tables), layers, *on_top(config, tops)))


def _mobile_layer(config: Config, hidden: int, narrow: int) -> Children:
    heads, inner = config.integer("num_attention_heads"), config.integer("intermediate_size")
    if narrow % heads:
        raise refuse(config, "num_attention_heads", "a divisor of intra_bottleneck_size")
    width = narrow // heads
    act = Activation("act", inner, config.text("hidden_act"))
    half = (
        Linear("intermediate", narrow, inner, True),
        act,
        Linear("output", inner, narrow, True),
        norm("LayerNorm", narrow),
    )
    bottleneck = tuple(
        part
        for name in ("input", "attention")
        for part in (Linear(name, hidden, narrow, True), norm(f"{name}_norm", narrow))
    )
    own = Block(
        "attention",
        (
            Linear("query", narrow, narrow, True),
            Linear("key", narrow, narrow, True),
            Linear("value", hidden, narrow, True),
            Attention(
                "attention", heads, heads, width, width, False,
                dropout=probability(config, "attention_probs_dropout_prob"),
            ),
            Linear("dense", narrow, narrow, True),
            norm("LayerNorm", narrow),
        ),
    )  # fmt: skip
    count = config.integer("num_feedforward_networks", 1, 1000)
    last = (Linear("bottleneck", narrow, hidden, True), norm("bottleneck_norm", hidden))
    return (
        Block("bottleneck", bottleneck),
        own,
        Block("mlp", half, repeat=count),
        Block("output", (*last, *dropped(hidden, probability(config, "hidden_dropout_prob")))),
    )


FAMILIES = {
    "big_bird": big_bird,
    "data2vec-text": roberta_kin,
    "ernie": ernie,
    "ibert": ibert,
    "mobilebert": mobilebert,
    "mra": mra,
    "rembert": rembert,
    "yoso": yoso,
}
