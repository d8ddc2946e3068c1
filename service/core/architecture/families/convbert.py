"""ConvBERT: attention beside dynamic convolutions (Jiang et al. 2020, arXiv 2008.02496).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import generator_head, widening
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, dropped, layer
from service.core.architecture.families.encoder import (
    BERT,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    on_top,
)
from service.core.architecture.families.trunk import labels, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Attention,
    Convolution,
    Linear,
    Operator,
    Parameter,
)
from service.core.architecture.tree import Block

CONVBERT = BERT | {
    "embedding_size": 768,
    "head_ratio": 2,
    "conv_kernel_size": 9,
    "num_groups": 1,
}


def _span_attention(config: Config, hidden: int) -> Block:
    """Half of the heads attend, the other half convolve with kernels made of each position."""
    heads = max(1, config.integer("num_attention_heads") // config.integer("head_ratio"))
    if hidden % heads:
        raise ConfigError(config.where("head_ratio"), "head_ratio must leave heads that divide")
    width = hidden // heads // 2
    inner, kernel = heads * width, config.integer("conv_kernel_size")
    dropout = probability(config, "hidden_dropout_prob")
    names = ("query", "key", "value", "conv_out_layer")
    return Block(
        "attention",
        (
            *(Linear(name, hidden, inner, True, "column") for name in names),
            Convolution("depthwise", hidden, hidden, (kernel,), hidden, bias=False),
            Convolution("pointwise", hidden, inner, (1,), bias=False),
            Parameter("key_conv_attn_layer.bias", (inner, 1)),
            Linear("conv_kernel_layer", inner, heads * kernel, True),
            Attention(
                "attention", heads, heads, width, width, False,
                dropout=probability(config, "attention_probs_dropout_prob"),
            ),
            Linear("dense", hidden, hidden, True, "row"),
            *dropped(hidden, dropout),
        ),
    )  # fmt: skip


def convbert(config: Config) -> Network:
    """ConvBertForMaskedLM: attention mixed with dynamic convolutions."""
    config = read(config, CONVBERT)
    for name in ("is_decoder", "add_cross_attention"):
        if config.flag(name):
            raise refuse(config, name, "false")
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    heads, ratio = config.integer("num_attention_heads"), config.integer("head_ratio")
    # With an odd share of heads the attended and the convolved half do not fill the width.
    if hidden // max(1, heads // ratio) % 2:
        raise refuse(config, "head_ratio", "an even width for each head")
    _, first, mlp, second = encoder_layer(config, hidden)
    groups = config.integer("num_groups")
    if groups > 1:
        mlp = _grouped(config, mlp, groups)
    layers = layer(
        _span_attention(config, hidden),
        first,
        mlp,
        second,
        repeat=config.layers("num_hidden_layers"),
    )
    dense = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (generator_head(config, hidden, width),),
        "Model": (),
        "ForSequenceClassification": (
            Block("head", (dense, Linear("out_proj", hidden, labels(config), True))),
        ),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    start = (embeddings(config, width), *widening(hidden, width))
    return encoder(config, hidden, (*start, layers, *on_top(config, tops)))


def _grouped(config: Config, mlp: Block | Operator, groups: int) -> Block:
    """The feed-forward as products within groups of the width."""
    assert isinstance(mlp, Block)
    found: list[Block | Operator] = []
    for child in mlp.children:
        if isinstance(child, Linear):
            if child.inputs % groups or child.outputs % groups:
                raise refuse(config, "num_groups", "a divisor of the widths")
            found.append(Convolution(child.name, child.inputs, child.outputs, (1,), groups))
        else:
            found.append(child)
    return replace(mlp, children=tuple(found))


FAMILIES = {
    "convbert": convbert,
}
