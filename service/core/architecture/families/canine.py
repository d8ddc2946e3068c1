"""CANINE: an encoder of characters that shortens its sequence (Clark et al. 2021, 2103.06874).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, layer
from service.core.architecture.families.encoder import (
    BERT,
    classifier,
    encoder,
    encoder_layer,
    norm,
    on_top,
    pooler,
)
from service.core.architecture.families.trunk import labels, probability, read
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Embedding,
    Operator,
)
from service.core.architecture.polynomial import Stream
from service.core.architecture.tree import Block

CANINE = BERT | {
    "max_position_embeddings": 16384,
    "type_vocab_size": 16,
    "downsampling_rate": 4,
    "upsampling_kernel_size": 4,
    "num_hash_functions": 8,
    "num_hash_buckets": 16384,
    "local_transformer_stride": 128,
}


def canine(config: Config) -> Network:
    """CanineModel: characters by hashing, a deep encoder on a quarter of the positions."""
    config = read(config, CANINE)
    hidden, hashes = config.integer("hidden_size"), config.integer("num_hash_functions")
    buckets, rate = config.rows("num_hash_buckets"), config.integer("downsampling_rate")
    act = Activation("activation", hidden, config.text("hidden_act"))
    table = Embedding("HashBucketCodepointEmbedder", buckets, hidden // hashes)
    embedding = Block(
        "embedding",
        (
            Block("hashes", (table,), repeat=hashes),
            Embedding("char_position_embeddings", buckets, hidden),
            Embedding("token_type_embeddings", config.rows("type_vocab_size"), hidden),
            norm("LayerNorm", hidden),
            *dropped(hidden, probability(config, "hidden_dropout_prob")),
        ),
    )
    children = encoder_layer(config, hidden)
    reach = config.integer("local_transformer_stride")
    shorter = Stream(0.0, 1.0 / rate)
    shorten = Convolution("conv", hidden, hidden, (rate,), input_positions=float(rate))
    kernel = config.integer("upsampling_kernel_size")
    parts: Children = (
        embedding,
        layer(_local(children[0], reach), *children[1:]),
        Block("downsample", (shorten, act, norm("LayerNorm", hidden)), stream=shorter),
        replace(layer(*children, repeat=config.layers("num_hidden_layers")), stream=shorter),
        Block(
            "projection",
            (Convolution("conv", 2 * hidden, hidden, (kernel,)), act, norm("LayerNorm", hidden)),
        ),
        layer(*children),
        pooler(hidden),
    )
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForSequenceClassification": (classifier(hidden, labels(config)),),
        "ForMultipleChoice": (classifier(hidden, 1),),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "Model")))
    return replace(network, vocabulary=0)


def _local(block: Block | Operator, reach: int) -> Block:
    """Attention that sees the chunks around it only."""
    assert isinstance(block, Block)
    found = tuple(
        replace(child, window=reach) if isinstance(child, Attention) else child
        for child in block.children
    )
    return replace(block, children=found)


FAMILIES = {
    "canine": canine,
}
