"""BERTs made small: grouped products, bottlenecks, integers.

squeezebert (Iandola et al. 2020, arXiv 2006.11316), mobilebert (2004.02984), ibert (2101.01321).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import roberta_kin
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped
from service.core.architecture.families.encoder import (
    BERT,
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
from service.core.architecture.families.trunk import agree, labels, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.tree import Block

SQUEEZE = BERT | {
    "embedding_size": 768,
    "q_groups": 4,
    "k_groups": 4,
    "v_groups": 4,
    "post_attention_groups": 1,
    "intermediate_groups": 4,
    "output_groups": 4,
}

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


def squeezebert(config: Config) -> Network:
    """SqueezeBertForMaskedLM: grouped convolutions instead of products."""
    config = read(config, SQUEEZE)
    hidden = config.integer("hidden_size")
    if config.integer("embedding_size") != hidden:
        raise refuse(config, "embedding_size", "hidden_size")
    inner = config.integer("intermediate_size")
    attention, first, mlp, second = encoder_layer(config, hidden)
    grouped = {
        "query": _grouped(config, "q_groups", hidden, hidden),
        "key": replace(_grouped(config, "k_groups", hidden, hidden), keeps_input=False),
        "value": replace(_grouped(config, "v_groups", hidden, hidden), keeps_input=False),
        "dense": _grouped(config, "post_attention_groups", hidden, hidden),
        "intermediate": _grouped(config, "intermediate_groups", hidden, inner),
        "output": _grouped(config, "output_groups", inner, hidden),
    }
    blocks = tuple(_swapped(block, grouped) for block in (attention, mlp))
    layers = stack(config, (blocks[0], first, blocks[1], second))
    lm = masked_lm(
        hidden,
        hidden,
        config.rows("vocab_size"),
        config.flag("tie_word_embeddings"),
        config.text("hidden_act"),
    )
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (pooler(hidden), lm),
        "Model": (pooler(hidden),),
    }
    parts = (embeddings(config, hidden), layers, *on_top(config, tops))
    return encoder(config, hidden, parts)


def _grouped(config: Config, name: str, inputs: int, outputs: int) -> Convolution:
    groups = config.integer(name)
    if inputs % groups or outputs % groups:
        raise refuse(config, name, "a divisor of the width")
    return Convolution(name, inputs, outputs, (1,), groups)


def _swapped(block: Block | Operator, found: Mapping[str, Convolution]) -> Block:
    assert isinstance(block, Block)
    children = tuple(found.get(child.name, child) for child in block.children)
    return replace(block, children=children)


def ibert(config: Config) -> Network:
    """IBertForMaskedLM: RoBERTa prepared for integer arithmetic, here in floating point."""
    if config.flag("quant_mode"):
        raise refuse(config, "quant_mode", "false")
    return roberta_kin(config)


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
    "ibert": ibert,
    "mobilebert": mobilebert,
    "squeezebert": squeezebert,
}
