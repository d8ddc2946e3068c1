"""Vision transformers: patches of an image through an encoder with norms before each half.

vit (Dosovitskiy et al. 2020, arXiv 2010.11929), deit (2012.12877), dinov2 (2304.07193), ijepa
(2301.08243). A sample is one image of the configuration's
size. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    Children,
    attention,
    dropped,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import encoder, norm, on_top
from service.core.architecture.families.pictures import sizes
from service.core.architecture.families.trunk import labels, probability, read, unmasked
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Convolution, Linear, Operator, Parameter
from service.core.architecture.polynomial import Stream, fixed
from service.core.architecture.tree import Block

VIT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
}

NORMS = ("layernorm_before", "layernorm_after")


def patches(config: Config) -> int:
    """The number of patches of one image."""
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    count = (image[0] // patch[0]) * (image[1] // patch[1])
    if not count:
        raise ConfigError(config.where("patch_size"), "patch_size is larger than the image")
    return count


def patch_projection(
    config: Config, hidden: int, bias: bool = True, name: str = "projection"
) -> Convolution:
    """The convolution that makes a vector of each patch."""
    patch = sizes(config, "patch_size")
    channels = config.integer("num_channels")
    return Convolution(
        name, channels, hidden, patch, bias=bias, input_positions=float(patch[0] * patch[1])
    )


def vision_layer(config: Config, norms: tuple[str, str], **changes: Any) -> Children:
    """A norm before each half, with ViT's or CLIP's field names."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    dropout = probability(config, "hidden_dropout_prob")
    shape = unmasked(
        config,
        hidden,
        heads,
        dropout=probability(config, "attention_probs_dropout_prob")
        or probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )
    mlp = plain_mlp(
        hidden,
        config.integer("intermediate_size"),
        config.text("hidden_act"),
        names=("fc1", "fc2"),
        dropout=dropout,
    )
    halves = norm(norms[0], hidden), attention(replace(shape, **changes)), norm(norms[1], hidden)
    return (*halves, mlp)


def vit_layer(config: Config) -> Children:
    """A layer with ViT's names of weights."""
    names = ("query", "key", "value", "dense")
    bias = config.flag("qkv_bias")
    return vision_layer(config, ("layernorm_before", "layernorm_after"), names=names, bias=bias)


def patch_embeddings(config: Config, tokens: int, mask: bool = False) -> tuple[Block, Stream]:
    """Patches with `tokens` class tokens and a learned position each."""
    hidden, count = config.integer("hidden_size"), patches(config)
    free = [Parameter(f"token_{i}", (1, 1, hidden)) for i in range(tokens)]
    if mask:
        free.append(Parameter("mask_token", (1, hidden)))
    block = Block(
        "embedding",
        (
            Block("patches", (patch_projection(config, hidden),), stream=fixed(count)),
            *free,
            Parameter("position_embeddings", (1, count + tokens, hidden)),
            *dropped(hidden, probability(config, "hidden_dropout_prob")),
        ),
    )
    return block, fixed(count + tokens)


def _pooler(config: Config) -> Block:
    hidden = config.integer("hidden_size")
    width = config.optional("pooler_output_size", 1) or hidden
    act = Activation("pooler_act", width, config.text("pooler_act", "tanh"))
    return Block("pooler", (Linear("dense", hidden, width, True), act), stream=fixed(1))


def image_classes(config: Config, name: str = "classifier", width: int | None = None) -> Block:
    """One score for each class, from one vector of the given width."""
    hidden = width or config.integer("hidden_size")
    return Block("head", (Linear(name, hidden, labels(config), True),), stream=fixed(1))


def placed(parts: Children, stream: Stream) -> Children:
    """The parts on the positions of an image."""
    return tuple(replace(b, stream=stream) if isinstance(b, Block) else b for b in parts)


def image_model(
    config: Config, parts: Children, tops: Mapping[str, Children], default: str
) -> Network:
    """The parts under what the class named in `architectures` puts on top."""
    top = on_top(config, tops, default)
    return encoder(config, config.integer("hidden_size"), (*parts, *top), tokens=False)


def vit(config: Config) -> Network:
    """ViTForImageClassification, ViTModel (with its pooler)."""
    config = read(config, VIT)
    hidden = config.integer("hidden_size")
    embedding, stream = patch_embeddings(config, 1)
    layers = layer(*vit_layer(config), repeat=config.layers("num_hidden_layers"))
    tops: dict[str, Children] = {
        "ForImageClassification": (image_classes(config),),
        "Model": (_pooler(config),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return image_model(config, placed(parts, stream), tops, "ForImageClassification")


def deit(config: Config) -> Network:
    """DeiTForImageClassification, with or without the teacher's head; DeiTModel."""
    config = read(config, VIT)
    hidden = config.integer("hidden_size")
    embedding, stream = patch_embeddings(config, 2)
    layers = layer(*vit_layer(config), repeat=config.layers("num_hidden_layers"))
    heads = image_classes(config, "cls_classifier")
    teacher = image_classes(config, "distillation_classifier")
    tops: dict[str, Children] = {
        "ForImageClassification": (image_classes(config),),
        "ForImageClassificationWithTeacher": (heads, teacher),
        "Model": (_pooler(config),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return image_model(config, placed(parts, stream), tops, "ForImageClassification")


def ijepa(config: Config) -> Network:
    """IJepaModel: a ViT without a class token."""
    config = read(config, VIT)
    hidden = config.integer("hidden_size")
    embedding, stream = patch_embeddings(config, 0)
    layers = layer(*vit_layer(config), repeat=config.layers("num_hidden_layers"))
    tops: dict[str, Children] = {
        "Model": (),
        "ForImageClassification": (image_classes(config),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return image_model(config, placed(parts, stream), tops, "Model")


def keyless(block: Block | Operator, name: str = "k_proj") -> Block:
    """Attention whose keys have no bias."""
    assert isinstance(block, Block)
    children = tuple(
        replace(child, bias=False) if isinstance(child, Linear) and child.name == name else child
        for child in block.children
    )
    return replace(block, children=children)


def vit_layers(config: Config) -> Block:
    """All layers, with the names of weights that all of transformers' later ports share."""
    children = vision_layer(config, NORMS, bias=config.flag("qkv_bias"))
    return layer(*children, repeat=config.layers("num_hidden_layers"))


def vit_body(config: Config, projection: Operator, count: int) -> Children:
    """A class token, learned positions, layers and a norm."""
    hidden = config.integer("hidden_size")
    free = (
        Parameter("cls_token", (1, 1, hidden)),
        Parameter("position_embeddings", (1, count + 1, hidden)),
    )
    seen = Block("patches", (projection,), stream=fixed(count))
    parts = (
        Block("embedding", (seen, *free)),
        vit_layers(config),
        Block("norm", (norm("layernorm", hidden),)),
    )
    return placed(parts, fixed(count + 1))


FAMILIES = {
    "deit": deit,
    "ijepa": ijepa,
    "vit": vit,
}
