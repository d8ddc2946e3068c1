"""Vision transformers: patches of an image through an encoder with norms before each half.

vit (Dosovitskiy et al. 2020, arXiv 2010.11929), deit (2012.12877), dinov2 (2304.07193), ijepa
(2301.08243), clip (2103.00020), siglip (2303.15343). A sample is one image of the configuration's
size. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.core.architecture.families.bert import encoder, norm, on_top
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    fused_gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.trunk import head_width, labels, probability, read, refuse
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import Stream, fixed

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
DINOV2 = VIT | {"patch_size": 14, "mlp_ratio": 4, "use_swiglu_ffn": False, "use_mask_token": True}
CLIP_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "attention_dropout": 0.0,
}
CLIP_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "attention_dropout": 0.0,
}
SIGLIP_TEXT = CLIP_TEXT | {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
}
SIGLIP_VISION = CLIP_VISION | {"patch_size": 16, "hidden_act": "gelu_pytorch_tanh"}


def sizes(config: Config, name: str) -> tuple[int, int]:
    """Height and width from a number or a pair."""
    value = config.get(name)
    if isinstance(value, list | tuple):
        pair = Config({str(i): size for i, size in enumerate(value)}, path=config.where(name))
        return pair.integer("0"), pair.integer("1")
    return config.integer(name), config.integer(name)


def patches(config: Config) -> int:
    """The number of patches of one image."""
    image, patch = sizes(config, "image_size"), sizes(config, "patch_size")
    return (image[0] // patch[0]) * (image[1] // patch[1])


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
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
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


def _vit_layer(config: Config) -> Children:
    names = ("query", "key", "value", "dense")
    bias = config.flag("qkv_bias")
    return vision_layer(config, ("layernorm_before", "layernorm_after"), names=names, bias=bias)


def _embeddings(config: Config, tokens: int, mask: bool = False) -> tuple[Block, Stream]:
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


def _classifier(hidden: int, classes: int, name: str = "classifier") -> Block:
    return Block("head", (Linear(name, hidden, classes, True),), stream=fixed(1))


def _image_network(
    config: Config, stream: Stream, parts: Children, tops: Mapping[str, Children], default: str
) -> Network:
    placed = tuple(
        replace(part, stream=stream) if isinstance(part, Block) else part for part in parts
    )
    top = on_top(config, tops, default)
    return encoder(config, config.integer("hidden_size"), (*placed, *top), tokens=False)


def vit(config: Config) -> Network:
    """ViTForImageClassification, ViTModel (with its pooler)."""
    config = read(config, VIT)
    hidden = config.integer("hidden_size")
    embedding, stream = _embeddings(config, 1)
    layers = layer(*_vit_layer(config), repeat=config.layers("num_hidden_layers"))
    tops: dict[str, Children] = {
        "ForImageClassification": (_classifier(hidden, labels(config)),),
        "Model": (_pooler(config),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return _image_network(config, stream, parts, tops, "ForImageClassification")


def deit(config: Config) -> Network:
    """DeiTForImageClassification, with or without the teacher's head; DeiTModel."""
    config = read(config, VIT)
    hidden, classes = config.integer("hidden_size"), labels(config)
    embedding, stream = _embeddings(config, 2)
    layers = layer(*_vit_layer(config), repeat=config.layers("num_hidden_layers"))
    heads = _classifier(hidden, classes, "cls_classifier")
    teacher = _classifier(hidden, classes, "distillation_classifier")
    tops: dict[str, Children] = {
        "ForImageClassification": (_classifier(hidden, classes),),
        "ForImageClassificationWithTeacher": (heads, teacher),
        "Model": (_pooler(config),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return _image_network(config, stream, parts, tops, "ForImageClassification")


def ijepa(config: Config) -> Network:
    """IJepaModel: a ViT without a class token."""
    config = read(config, VIT)
    hidden = config.integer("hidden_size")
    embedding, stream = _embeddings(config, 0)
    layers = layer(*_vit_layer(config), repeat=config.layers("num_hidden_layers"))
    tops: dict[str, Children] = {
        "Model": (),
        "ForImageClassification": (_classifier(hidden, labels(config)),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return _image_network(config, stream, parts, tops, "Model")


def dinov2(config: Config) -> Network:
    """Dinov2Model: scales after each half, optionally a gated feed-forward."""
    config = read(config, DINOV2)
    hidden = config.integer("hidden_size")
    inner = int(hidden * config.number("mlp_ratio", 0.0, 1e3))
    given = {**config.data, "intermediate_size": inner}
    block = _vit_layer(Config(given, DINOV2, config.path))
    mlp = block[3]
    if config.flag("use_swiglu_ffn"):
        gated = (int(inner * 2 / 3) + 7) // 8 * 8
        mlp = fused_gated_mlp(hidden, gated, bias=True, names=("weights_in", "weights_out"))
    scales = tuple(Parameter(f"layer_scale{i}", (hidden,)) for i in (1, 2))
    layers = layer(
        *block[:2], scales[0], block[2], mlp, scales[1], repeat=config.layers("num_hidden_layers")
    )
    embedding, stream = _embeddings(config, 1, config.flag("use_mask_token"))
    tops: dict[str, Children] = {
        "Model": (),
        "ForImageClassification": (_classifier(2 * hidden, labels(config)),),
    }
    parts = (embedding, layers, Block("norm", (norm("layernorm", hidden),)))
    return _image_network(config, stream, parts, tops, "Model")


def clip_vision(config: Config) -> tuple[Block, ...]:
    """CLIP's image tower, a norm before its first layer and after its last."""
    hidden, count = config.integer("hidden_size"), patches(config)
    embedding = Block(
        "vision_embedding",
        (
            Block(
                "patches",
                (patch_projection(config, hidden, False, "patch_embedding"),),
                stream=fixed(count),
            ),
            Parameter("class_embedding", (hidden,)),
            Embedding("position_embedding", count + 1, hidden),
            norm("pre_layrnorm", hidden),
        ),
    )
    layers = layer(
        *vision_layer(config, ("layer_norm1", "layer_norm2")),
        repeat=config.layers("num_hidden_layers"),
    )
    last = Block("vision_norm", (norm("post_layernorm", hidden),))
    return tuple(replace(part, stream=fixed(count + 1)) for part in (embedding, layers, last))


def clip_text(config: Config) -> tuple[Block, ...]:
    """CLIP's text tower."""
    hidden = config.integer("hidden_size")
    tables: tuple[Operator, ...] = (
        Embedding("token_embedding", config.rows("vocab_size"), hidden, Split.TENSOR, input=True),
        Embedding("position_embedding", config.rows("max_position_embeddings"), hidden),
    )
    layers = layer(
        *vision_layer(config, ("layer_norm1", "layer_norm2"), causal=True),
        repeat=config.layers("num_hidden_layers"),
    )
    last = Block("text_norm", (norm("final_layer_norm", hidden),))
    return Block("embedding", tables), layers, last


def clip(config: Config) -> Network:
    """CLIPModel: both towers, a projection each and a temperature."""
    text, vision = (
        config.section("text_config", CLIP_TEXT),
        config.section("vision_config", CLIP_VISION),
    )
    width = Config(config.data, {"projection_dim": 512}).integer("projection_dim")
    hidden = text.integer("hidden_size")
    top = (
        Linear("visual_projection", vision.integer("hidden_size"), width),
        Linear("text_projection", hidden, width),
        Parameter("logit_scale", (1,)),
    )
    parts = (*clip_text(text), *clip_vision(vision), Block("head", top, stream=fixed(1)))
    if on_top(config, {"CLIPModel": ()}, "CLIPModel"):
        raise refuse(config, "architectures", "CLIPModel")
    network = encoder(config, hidden, parts)
    return replace(network, sequence_limit=text.integer("max_position_embeddings"))


def clip_text_model(config: Config) -> Network:
    """CLIPTextModel."""
    config = read(config, CLIP_TEXT)
    return encoder(config, config.integer("hidden_size"), clip_text(config))


def siglip(config: Config) -> Network:
    """SiglipModel: both towers, the image's pooled by attention to a learned probe."""
    text = config.section("text_config", SIGLIP_TEXT)
    vision = config.section("vision_config", SIGLIP_VISION | {"vision_use_head": True})
    hidden, width = text.integer("hidden_size"), vision.integer("hidden_size")
    count = patches(vision)
    embedding = Block(
        "vision_embedding",
        (
            patch_projection(vision, width, True, "patch_embedding"),
            Embedding("position_embedding", count, width),
        ),
    )
    layers = layer(
        *vision_layer(vision, ("layer_norm1", "layer_norm2")),
        repeat=vision.layers("num_hidden_layers"),
    )
    last = Block("vision_norm", (norm("post_layernorm", width),))
    towers = tuple(replace(part, stream=fixed(count)) for part in (embedding, layers, last))
    words = clip_text(text)
    bidirectional = vision_layer(text, ("layer_norm1", "layer_norm2"))
    words = (words[0], replace(words[1], children=bidirectional), words[2])
    projection = text.optional("projection_size", 1) or hidden
    top: tuple[Operator, ...] = (
        Linear("head", hidden, projection, True),
        Parameter("logit_scale", (1,)),
        Parameter("logit_bias", (1,)),
    )
    pooled = (_attention_pool(vision, width, count),) if vision.flag("vision_use_head") else ()
    parts = (*words, *towers, *pooled, Block("head", top, stream=fixed(1)))
    on_top(config, {"SiglipModel": ()}, "SiglipModel")
    network = encoder(config, hidden, parts)
    return replace(network, sequence_limit=text.integer("max_position_embeddings"))


def _attention_pool(config: Config, hidden: int, count: int) -> Block:
    """One learned query attends to all patches."""
    heads = config.integer("num_attention_heads")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(count),
        key_inputs=hidden,
    )
    inner = config.integer("intermediate_size")
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), names=("fc1", "fc2"))
    probe = Parameter("probe", (1, 1, hidden))
    parts = (probe, attention(shape), norm("layernorm", hidden), mlp)
    return Block("vision_head", parts, stream=fixed(1))


FAMILIES = {
    "clip": clip,
    "clip_text_model": clip_text_model,
    "deit": deit,
    "dinov2": dinov2,
    "ijepa": ijepa,
    "siglip": siglip,
    "vit": vit,
}
