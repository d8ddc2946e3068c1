"""Pairs of towers beside CLIP, and BLIP's captions.

owlvit (Minderer et al. 2022, arXiv 2205.06230), owlv2 (2306.09683), chinese_clip (2211.01335),
altclip (2211.06679), blip (2201.12086). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bert import (
    BERT,
    embeddings,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
)
from service.core.architecture.families.clip import CLIP_TEXT, CLIP_VISION, clip_text, clip_vision
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    layer,
    plain_mlp,
)
from service.core.architecture.families.trunk import head_width, probability, read, ties, unmasked
from service.core.architecture.families.vision_transformer import patch_projection, patches
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Linear, Parameter
from service.core.architecture.polynomial import fixed

ALTCLIP_TEXT = BERT | {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "project_dim": 768,
}
BLIP_TEXT = BERT | {
    "vocab_size": 30524,
    "encoder_hidden_size": 768,
    "num_attention_heads": 8,
    "type_vocab_size": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
BLIP_VISION = CLIP_VISION | {"image_size": 384, "patch_size": 16, "hidden_act": "gelu"}


def _pair(
    config: Config, words: Children, vision: Config, text_width: int, joint: int, name: str
) -> Network:
    """Two towers, a projection each and a temperature."""
    on_top(config, {name: ()}, name)
    top = (
        Linear("visual_projection", vision.integer("hidden_size"), joint),
        Linear("text_projection", text_width, joint),
        Parameter("logit_scale", (1,)),
    )
    parts = (*words, *clip_vision(vision), Block("head", top, stream=fixed(1)))
    return encoder(config, text_width, parts)


def _joint(config: Config, default: int = 512) -> int:
    return Config(config.data, {"projection_dim": default}).integer("projection_dim")


def _owl(config: Config, name: str, image_size: int, patch_size: int) -> Network:
    text = read(config.section("text_config"), CLIP_TEXT | {"max_position_embeddings": 16})
    sizes = {"image_size": image_size, "patch_size": patch_size}
    vision = read(config.section("vision_config"), CLIP_VISION | sizes)
    width = text.integer("hidden_size")
    network = _pair(config, clip_text(text), vision, width, _joint(config), name)
    limit = text.integer("max_position_embeddings")
    return replace(network, sequence_limit=limit, vocabulary=text.rows("vocab_size"))


def owlvit(config: Config) -> Network:
    """OwlViTModel."""
    return _owl(config, "OwlViTModel", 768, 32)


def owlv2(config: Config) -> Network:
    """Owlv2Model."""
    return _owl(config, "Owlv2Model", 768, 16)


def _bert_tower(text: Config, hidden: int) -> Children:
    layers = layer(*encoder_layer(text, hidden), repeat=text.layers("num_hidden_layers"))
    return embeddings(text, hidden), layers


def chinese_clip(config: Config) -> Network:
    """ChineseCLIPModel: BERT as the text tower."""
    text = read(config.section("text_config"), BERT)
    vision = read(config.section("vision_config"), CLIP_VISION)
    hidden = text.integer("hidden_size")
    words = _bert_tower(text, hidden)
    network = _pair(config, words, vision, hidden, _joint(config), "ChineseCLIPModel")
    return replace(network, vocabulary=text.rows("vocab_size"))


def altclip(config: Config) -> Network:
    """AltCLIPModel: XLM-RoBERTa as the text tower, brought to the pair's width."""
    text = read(config.section("text_config"), ALTCLIP_TEXT)
    vision = read(config.section("vision_config"), CLIP_VISION)
    hidden, width = text.integer("hidden_size"), text.integer("project_dim")
    brought = Block(
        "transformation",
        (norm("pre_LN", hidden), Linear("transformation", hidden, width, True)),
    )
    words = (*_bert_tower(text, hidden), brought)
    network = _pair(config, words, vision, width, _joint(config, 768), "AltCLIPModel")
    return replace(network, vocabulary=text.rows("vocab_size"))


def _blip_vision(config: Config) -> tuple[Block, ...]:
    hidden, count = config.integer("hidden_size"), patches(config)
    heads = config.integer("num_attention_heads")
    shape = unmasked(
        config,
        hidden,
        heads,
        fused="qkv",
        dropout=probability(config, "attention_dropout"),
        names=("", "", "", "projection"),
    )
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    projection = patch_projection(config, hidden, True, "patch_embedding")
    blocks = (
        Block(
            "vision_embedding",
            (
                Block("patches", (projection,), stream=fixed(count)),
                Parameter("class_embedding", (1, 1, hidden)),
                Parameter("position_embedding", (1, count + 1, hidden)),
            ),
        ),
        layer(
            norm("layer_norm1", hidden),
            attention(shape),
            norm("layer_norm2", hidden),
            mlp,
            repeat=config.layers("num_hidden_layers"),
        ),
        Block("vision_norm", (norm("post_layernorm", hidden),)),
    )
    return tuple(replace(block, stream=fixed(count + 1)) for block in blocks)


def blip(config: Config) -> Network:
    """BlipForConditionalGeneration: a decoder that attends to the image in each layer."""
    name = "BlipForConditionalGeneration"
    on_top(config, {name: ()}, name)
    vision = read(config.section("vision_config"), BLIP_VISION)
    section = config.section("text_config")
    # The class attends to its own image tower, whatever width the text's config names.
    own_fields = {"encoder_hidden_size": vision.integer("hidden_size"), "type_vocab_size": 0}
    given = {**section.data, **own_fields}
    text = Config(given, BLIP_TEXT, section.path)
    hidden, heads = text.integer("hidden_size"), text.integer("num_attention_heads")
    own, first, mlp, second = encoder_layer(text, hidden)
    seen = fixed(float(patches(vision) + 1))
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(text, hidden, heads),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=seen,
        key_inputs=text.integer("encoder_hidden_size"),
        names=("query", "key", "value", "dense"),
    )
    crossed = replace(attention(shape), name="cross_attention")
    layers = layer(
        own, first, crossed, norm("cross_attention_norm", hidden), mlp, second,
        repeat=text.layers("num_hidden_layers"),
    )  # fmt: skip
    rows = text.rows("vocab_size")
    tied = ties(config) or ties(text)
    top = masked_lm(hidden, hidden, rows, tied, text.text("hidden_act"))
    parts = (*_blip_vision(vision), embeddings(text, hidden), layers, top)
    network = encoder(config, hidden, parts)
    limit = text.integer("max_position_embeddings")
    return replace(network, causal=True, vocabulary=rows, sequence_limit=limit)


FAMILIES = {
    "altclip": altclip,
    "blip": blip,
    "chinese_clip": chinese_clip,
    "owlv2": owlv2,
    "owlvit": owlvit,
}
