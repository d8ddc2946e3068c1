"""Encoders near BERT that read pages, boxes of words and regions of images.

layoutlm (Xu et al. 2019, arXiv 1912.13318), lilt (2202.13669), layoutlmv3 (2204.08387), visual_bert
(1908.03557). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.families.bert import build_bert
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.encoder import (
    BERT,
    bert_tops,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    norm,
    on_top,
    pooler,
    stack,
)
from service.core.architecture.families.trunk import labels, read, refuse
from service.core.architecture.families.vision_transformer import patch_projection, patches
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Operator, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

VISUAL = BERT | {"visual_embedding_dim": 512}

LILT = BERT | {"channel_shrink_ratio": 4, "max_2d_position_embeddings": 1024}

LAYOUTLMV3 = BERT | {
    "vocab_size": 50265,
    "max_2d_position_embeddings": 1024,
    "coordinate_size": 128,
    "shape_size": 128,
    "has_relative_attention_bias": True,
    "rel_pos_bins": 32,
    "rel_2d_pos_bins": 64,
    "has_spatial_attention_bias": True,
    "text_embed": True,
    "visual_embed": True,
    "input_size": 224,
    "num_channels": 3,
    "patch_size": 16,
}


def visual_bert(config: Config) -> Network:
    """VisualBertModel: embeddings of image regions beside those of words."""
    config = read(config, VISUAL)
    if config.flag("bypass_transformer"):
        raise refuse(config, "bypass_transformer", "false")
    hidden = config.integer("hidden_size")
    extra: tuple[Operator, ...] = (
        Embedding("visual_token_type_embeddings", config.rows("type_vocab_size"), hidden),
        Embedding("visual_position_embeddings", config.rows("max_position_embeddings"), hidden),
        Linear("visual_projection", config.integer("visual_embedding_dim"), hidden, True),
    )
    layers = stack(config, encoder_layer(config, hidden))
    top = on_top(config, {"VisualBertModel": (pooler(hidden),)}, "VisualBertModel")
    return encoder(config, hidden, (embeddings(config, hidden, extra), layers, *top))


def lilt(config: Config) -> Network:
    """LiltModel: a narrow stream of the layout beside the stream of the text."""
    config = read(config, LILT)
    hidden, ratio = config.integer("hidden_size"), config.integer("channel_shrink_ratio")
    if hidden % ratio or hidden % 6:
        raise refuse(config, "channel_shrink_ratio", "a divisor of hidden_size, itself of six")
    narrow, rows = hidden // ratio, config.rows("max_2d_position_embeddings")
    boxes = tuple(Embedding(f"{axis}_position_embeddings", rows, hidden // 6) for axis in "xyhw")
    places = config.rows("max_position_embeddings")
    layout = Block(
        "layout_embedding",
        (
            *boxes,
            Embedding("box_position_embeddings", places, narrow),
            Linear("box_linear_embeddings", hidden, narrow, True),
            norm("LayerNorm", narrow),
        ),
    )
    small = Config(
        {
            **config.data,
            "hidden_size": narrow,
            "intermediate_size": config.integer("intermediate_size") // ratio,
        },
        config.defaults,
        config.path,
    )
    beside = Block("layout", encoder_layer(small, narrow))
    tops: Mapping[str, Children] = {
        "Model": (pooler(hidden),),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    parts = (
        embeddings(config, hidden),
        layout,
        stack(config, (*encoder_layer(config, hidden), beside)),
        *on_top(config, tops, "Model"),
    )
    return encoder(config, hidden, parts)


def layoutlmv3(config: Config) -> Network:
    """LayoutLMv3Model: words, their boxes and patches of the page in one encoder."""
    config = read(config, LAYOUTLMV3)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    rows = config.rows("max_2d_position_embeddings")
    extra: list[Operator] = [
        Embedding(f"{axis}_position_embeddings", rows, config.integer(size))
        for axis, size in zip(
            "xyhw", ("coordinate_size", "coordinate_size", "shape_size", "shape_size"), strict=True
        )
    ]
    table = embeddings(config, hidden, tuple(extra))
    seen: Children = ()
    if config.flag("visual_embed"):
        page = Config({**config.data, "image_size": config.integer("input_size")}, LAYOUTLMV3)
        count = patches(page)
        free = (
            Parameter("cls_token", (1, 1, hidden)),
            Parameter("pos_embed", (1, count + 1, hidden)),
            norm("norm", hidden),
            norm("LayerNorm", hidden),
        )
        seen = (Block("patches", (patch_projection(page, hidden), *free), stream=fixed(count)),)
    biases: list[Operator] = []
    if config.flag("has_relative_attention_bias"):
        biases.append(Linear("rel_pos_bias", config.integer("rel_pos_bins"), heads))
    if config.flag("has_spatial_attention_bias"):
        bins = config.integer("rel_2d_pos_bins")
        biases += [Linear(f"rel_pos_{axis}_bias", bins, heads) for axis in "xy"]
    shared = (Block("positions", tuple(biases), stream=fixed(1)),) if biases else ()
    parts = (
        table,
        *seen,
        *shared,
        stack(config, encoder_layer(config, hidden)),
        *on_top(config, {"LayoutLMv3Model": ()}, "LayoutLMv3Model"),
    )
    if not config.flag("text_embed"):
        raise refuse(config, "text_embed", "true")
    return encoder(config, hidden, parts)


def layoutlm(config: Config) -> Network:
    """LayoutLMModel: a BERT with embeddings of the words' boxes."""
    defaults = BERT | {"max_2d_position_embeddings": 1024}
    config = read(config, defaults)
    rows = config.rows("max_2d_position_embeddings")
    width = config.integer("hidden_size")
    boxes = tuple(Embedding(f"{axis}_position_embeddings", rows, width) for axis in "xyhw")
    return build_bert(config, defaults, _pooled_tops, boxes)


def _pooled_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    """BERT's classes over a model that always has its pooler."""
    tops = bert_tops(config, hidden, width)
    pooled = (pooler(hidden),)
    return {
        name: parts if parts[:1] == pooled else (*pooled, *parts) for name, parts in tops.items()
    }


FAMILIES = {
    "layoutlm": layoutlm,
    "layoutlmv3": layoutlmv3,
    "lilt": lilt,
    "visual_bert": visual_bert,
}
