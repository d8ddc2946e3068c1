"""BERTs whose attention costs less: sparse, sampled, low-rank, or a Fourier transform.

big_bird (Zaheer et al. 2020, arXiv 2007.14062), nystromformer (2102.03902), fnet (2105.03824), yoso
(2111.09714), mra (2207.10284). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
    on_top,
    pooler,
    stack,
)
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Linear, Operator, Parameter, Split
from service.core.architecture.tree import Block

NYSTROMFORMER = BERT | {
    "vocab_size": 30000,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 510,
    "num_landmarks": 64,
    "conv_kernel_size": 65,
}

FNET = BERT | {"vocab_size": 32000, "hidden_act": "gelu_new", "type_vocab_size": 4}

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


def _without_pooler(config: Config, hidden: int, layers: Block) -> Network:
    """BERT without a pooler, with two rows more of positions."""
    limit = config.rows("max_position_embeddings") + 2
    grown = Config({**config.data, "max_position_embeddings": limit}, config.defaults, config.path)
    tops = bert_tops(config, hidden, hidden)
    wanted: dict[str, Children] = {
        "ForMaskedLM": tops["ForMaskedLM"],
        "Model": (),
        "ForTokenClassification": tops["ForTokenClassification"],
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    return encoder(config, hidden, (embeddings(grown, hidden), layers, *on_top(config, wanted)))


def nystromformer(config: Config) -> Network:
    """NystromformerForMaskedLM: attention through landmarks, and a convolution of the values."""
    config = read(config, NYSTROMFORMER)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    kernel = config.optional("conv_kernel_size", 1)
    block, *rest = encoder_layer(config, hidden)
    assert isinstance(block, Block)
    if kernel:
        free = Parameter("conv", (heads, 1, kernel, 1), Split.TENSOR)
        block = replace(block, children=(*block.children, free))
    layers = layer(block, *rest, repeat=config.layers("num_hidden_layers"))
    return _without_pooler(config, hidden, layers)


def fnet(config: Config) -> Network:
    """FNetForMaskedLM: Fourier transforms, which hold no weights, instead of attention."""
    config = read(config, FNET)
    hidden = config.integer("hidden_size")
    table = embeddings(config, hidden)
    project = Linear("projection", hidden, hidden, True)
    _, first, mlp, second = encoder_layer(
        Config({**config.data, "num_attention_heads": 1}, config.defaults, config.path), hidden
    )
    layers = layer(first, mlp, second, repeat=config.layers("num_hidden_layers"))
    tops = bert_tops(config, hidden, hidden)
    wanted = {name: (pooler(hidden), *tops[name]) for name in ("ForMaskedLM",)}
    wanted |= {name: tops[name] for name in tops if name not in ("ForMaskedLM", "LMHeadModel")}
    wanted["ForTokenClassification"] = (pooler(hidden), *tops["ForTokenClassification"])
    wanted["ForQuestionAnswering"] = (pooler(hidden), classifier(hidden, labels(config)))
    parts = (
        replace(table, children=(*table.children, project)),
        layers,
        *on_top(config, wanted),
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
    """BERT whose attention is another and holds the same."""
    config = read(config, defaults)
    hidden = config.integer("hidden_size")
    if config.get("conv_window") is not None:
        raise refuse(config, "conv_window", "null")
    layers = stack(config, encoder_layer(config, hidden))
    return _without_pooler(config, hidden, layers)


def yoso(config: Config) -> Network:
    """YosoForMaskedLM: attention sampled by hashing."""
    return _shifted(config, YOSO)


def mra(config: Config) -> Network:
    """MraForMaskedLM: attention at several resolutions."""
    return _shifted(config, MRA)


FAMILIES = {
    "big_bird": big_bird,
    "fnet": fnet,
    "mra": mra,
    "nystromformer": nystromformer,
    "yoso": yoso,
}
