"""Pairs of an image tower and a text tower beside CLIP.

owlvit (Minderer et al. 2022, arXiv 2205.06230), owlv2 (2306.09683), chinese_clip (2211.01335),
altclip (2211.06679). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.clip import CLIP_TEXT, CLIP_VISION, clip_text, clip_vision
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, layer
from service.core.architecture.families.encoder import (
    BERT,
    embeddings,
    encoder,
    encoder_layer,
    norm,
    on_top,
)
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

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


def _pair(
    config: Config, words: Children, vision: Config, text_width: int, joint: int, name: str
) -> Network:
    """Two towers, the image's first; a projection each and a temperature."""
    on_top(config, {name: ()}, name)
    top = (
        Linear("visual_projection", vision.integer("hidden_size"), joint),
        Linear("text_projection", text_width, joint),
        Parameter("logit_scale", (1,)),
    )
    parts = (*clip_vision(vision), *words, Block("head", top, stream=fixed(1)))
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


FAMILIES = {
    "altclip": altclip,
    "chinese_clip": chinese_clip,
    "owlv2": owlv2,
    "owlvit": owlvit,
}
