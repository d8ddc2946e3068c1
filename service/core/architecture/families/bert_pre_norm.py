"""Encoders near BERT whose norms stand before each half of a layer, with one at the end.

megatron-bert (Shoeybi et al. 2019, arXiv 1909.08053), roberta-prelayernorm (1904.01038),
xlm-roberta-xl (2105.00572). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import ROBERTA, roberta_tops
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import (
    BERT,
    bert_tops,
    bidirectional,
    embeddings,
    encoder,
    encoder_layer,
    norm,
    on_top,
    stack,
)
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.tree import Block

MEGATRON = BERT | {
    "vocab_size": 29056,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
XLM_XL = BERT | {
    "vocab_size": 250880,
    "hidden_size": 2560,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "intermediate_size": 10240,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
}


def pre_norm_layer(config: Config, hidden: int) -> Children:
    """BERT's layer with the norms before each half."""
    attention, first, mlp, second = encoder_layer(config, hidden)
    return first, attention, second, mlp


def _pre_norm(
    config: Config, tops: Mapping[str, Children], table_norm: bool, last_norm: str
) -> Network:
    hidden = config.integer("hidden_size")
    table = embeddings(config, hidden)
    if not table_norm:
        bare = tuple(child for child in table.children if child.name != "LayerNorm")
        table = replace(table, children=bare)
    last = Block("norm", (norm(last_norm, hidden),))
    layers = stack(config, pre_norm_layer(config, hidden))
    return encoder(config, hidden, (table, layers, last, *on_top(config, tops)))


def megatron_bert(config: Config) -> Network:
    """MegatronBertForMaskedLM: no norm on the embeddings."""
    config = read(config, MEGATRON)
    hidden = config.integer("hidden_size")
    return _pre_norm(config, bert_tops(config, hidden, hidden), False, "ln")


def roberta_prelayernorm(config: Config) -> Network:
    """RobertaPreLayerNormForMaskedLM."""
    config = bidirectional(read(config, ROBERTA))
    hidden = config.integer("hidden_size")
    return _pre_norm(config, roberta_tops(config, hidden, hidden), True, "LayerNorm")


def xlm_roberta_xl(config: Config) -> Network:
    """XLMRobertaXLForMaskedLM: no norm on the embeddings."""
    config = bidirectional(read(config, XLM_XL))
    hidden = config.integer("hidden_size")
    return _pre_norm(config, roberta_tops(config, hidden, hidden), False, "LayerNorm")


FAMILIES = {
    "megatron-bert": megatron_bert,
    "roberta-prelayernorm": roberta_prelayernorm,
    "xlm-roberta-xl": xlm_roberta_xl,
}
