"""Vision-language models: an image tower, a projection, and a decoder that reads both.

llava (Liu et al. 2023, arXiv 2304.08485), llava_next, llava_onevision (2408.03326), vipllava
(2312.00784), video_llava (2311.10122), paligemma (2407.07726), gemma3 (2503.19786), idefics3
(2408.12637), smolvlm (2504.05299), mistral3, internvl (2504.10479), cohere2_vision, aya_vision,
lfm2_vl. The request's sequence is what the decoder reads, image tokens among it; each sample
brings one image of the configuration's size. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.core.architecture.families import registry
from service.core.architecture.families.config import Config, UnknownArchitecture
from service.core.architecture.families.decoder import AttentionShape, Children
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.towers import Tower, tower
from service.core.architecture.families.trunk import named_class, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Linear, Norm, Operator, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

CLIP_LARGE = {
    "model_type": "clip_vision_model",
    "intermediate_size": 4096,
    "hidden_size": 1024,
    "patch_size": 14,
    "image_size": 336,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}

SIGLIP_LARGE = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "patch_size": 14,
    "image_size": 384,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "vision_use_head": False,
}

PALIGEMMA_TEXT = {
    "model_type": "gemma",
    "hidden_size": 2048,
    "num_hidden_layers": 18,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "vocab_size": 257152,
}

MISTRAL3_TEXT = {
    "model_type": "mistral",
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "vocab_size": 131072,
}

MISTRAL3_VISION = {
    "model_type": "pixtral",
    "intermediate_size": 4096,
    "hidden_size": 1024,
    "patch_size": 14,
    "image_size": 1540,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}


Projector = Callable[[Config, Tower, int], tuple[Operator, ...]]
"""(config, tower, the decoder's width) -> what makes the decoder's vectors of the tower's."""


@dataclass(frozen=True)
class Pair:
    """How one family joins a tower and a decoder."""

    vision: Mapping[str, Any]
    """The `vision_config` where the file has none; its `model_type` where it names none."""
    text: Mapping[str, Any]
    project: Projector
    tied: bool = False
    """`tie_word_embeddings` where the file has none."""
    defaults: Mapping[str, Any] | None = None
    merged: Callable[[Config, Tower], int] | None = None
    """Vectors of one image that reach the decoder; all of the tower's where None."""
    forwards_tie: bool = False
    """A tie that only the `text_config` states holds for the whole."""
    towers: int = 1


def part(config: Config, name: str, absent: Mapping[str, Any]) -> dict[str, Any]:
    """A sub-configuration; `absent` where there is none, its `model_type` where it has none."""
    if config.data.get(name) is None:
        return dict(absent)
    return {"model_type": absent["model_type"], **config.section(name).data}


def decoder(config: Config, given: Mapping[str, Any], tied: bool, path: str) -> Network:
    """The language model inside, with or without its head as the class on the outside says."""
    kind = named_class(config)
    if not kind.endswith(("ForConditionalGeneration", "Model")) and kind:
        raise refuse(config, "architectures", "ForConditionalGeneration, Model")
    bare = kind.endswith("Model")
    named = str(given.get("model_type"))
    builder = registry.builders().get(named)
    if builder is None:
        raise UnknownArchitecture(f"{path}.model_type", f"decoder {named[:80]!r} has no family")
    inner = {key: value for key, value in given.items() if key != "architectures"}
    inner |= {"tie_word_embeddings": tied, "architectures": ["Model"] if bare else []}
    return builder(Config(inner, path=path))


def joined(config: Config, before: Children, text: Network) -> Network:
    """One network of what stands before the decoder, and the decoder."""
    root = Block("model", (*before, *text.root.children))
    return replace(text, model_type=config.text("model_type"), root=root)


def _build(config: Config, pair: Pair) -> Network:
    config = read(config, pair.defaults or {})
    given = part(config, "text_config", pair.text)
    tied = config.flag("tie_word_embeddings") if "tie_word_embeddings" in config.data else pair.tied
    if pair.forwards_tie and not tied:
        tied = given.get("tie_word_embeddings") is True
    text = decoder(config, given, tied, "text_config")
    seen = Config(part(config, "vision_config", pair.vision), path=config.where("vision_config"))
    made = tower(seen, str(pair.vision["model_type"]))
    count = pair.merged(config, made) if pair.merged else made.positions
    operators = pair.project(config, made, text.hidden_size)
    projector = Block("projector", operators, stream=fixed(count))
    return joined(config, (*made.blocks * pair.towers, projector), text)


def two_linear(
    config: Config, inputs: int, middle: int, width: int, bias: bool
) -> tuple[Operator, ...]:
    """Two products with an activation between them."""
    act = Activation("act", middle, config.text("projector_hidden_act", "gelu"))
    return Linear("linear_1", inputs, middle, bias), act, Linear("linear_2", middle, width, bias)


def _llava(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    layers = config.get("vision_feature_layer")
    taken = len(layers) if isinstance(layers, list | tuple) else 1
    bias = config.get("multimodal_projector_bias") is not False
    return two_linear(config, made.width * taken, width, width, bias)


def _llava_next(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    return Parameter("image_newline", (width,)), *_llava(config, made, width)


def _vipllava(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    layers = config.get("vision_feature_layer")
    taken = len(layers) if isinstance(layers, list | tuple) else 1
    inputs = made.width * taken
    return norm("projector_layernorm", inputs), *two_linear(config, inputs, width, width, True)


def _paligemma(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    return (Linear("linear", made.width, config.integer("projection_dim"), True),)


def _gemma3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    return Norm("mm_soft_emb_norm", made.width), Linear("mm_input_projection", made.width, width)


def _shuffled(config: Config, made: Tower) -> int:
    return made.positions // config.integer("scale_factor") ** 2


def _idefics3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    return (Linear("proj", made.width * config.integer("scale_factor") ** 2, width),)


def _merged(config: Config, made: Tower) -> int:
    return made.positions // config.integer("spatial_merge_size") ** 2


def _mistral3(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    if isinstance(config.get("vision_feature_layer"), list | tuple):
        raise refuse(config, "vision_feature_layer", "one layer")
    merged = made.width * config.integer("spatial_merge_size") ** 2
    bias = config.flag("multimodal_projector_bias")
    norms = (Norm("norm", made.width), Linear("merging_layer", merged, made.width))
    return (*norms, *two_linear(config, made.width, width, width, bias))


def _sampled(config: Config, made: Tower) -> int:
    return int(made.positions * config.number("downsample_ratio", 0.0, 1.0) ** 2)


def _internvl(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    inputs = made.width * int(1 / config.number("downsample_ratio", 0.01, 1.0)) ** 2
    return norm("layer_norm", inputs), *two_linear(config, inputs, width, width, True)


def _factored(config: Config, made: Tower) -> int:
    return made.positions // config.integer("downsample_factor") ** 2


def _cohere2(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    inputs = made.width * config.integer("downsample_factor") ** 2
    middle = config.integer("alignment_intermediate_size")
    if middle % 2:
        raise refuse(config, "alignment_intermediate_size", "an even number")
    act = Activation("act", middle // 2, "silu", gated=True)
    first, second = Linear("linear_1", inputs, middle, True), Linear("linear_2", middle // 2, width)
    return first, act, replace(second, bias=True)


def _aya(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    inputs = made.width * config.integer("downsample_factor") ** 2
    middle = config.optional("alignment_intermediate_size", 1) or width
    if middle % 2:
        raise refuse(config, "alignment_intermediate_size", "an even number")
    act = Activation("act", middle // 2, "silu", gated=True)
    first, second = Linear("linear_1", inputs, middle, True), Linear("linear_2", middle // 2, width)
    return norm("layernorm", inputs), first, act, replace(second, bias=True)


def _lfm2(config: Config, made: Tower, width: int) -> tuple[Operator, ...]:
    inputs = made.width * config.integer("downsample_factor") ** 2
    middle = config.integer("projector_hidden_size")
    products = two_linear(config, inputs, middle, width, config.flag("projector_bias"))
    normed = (norm("layer_norm", inputs),) if config.flag("projector_use_layernorm") else ()
    return (*normed, *products)


def _family(pair: Pair) -> Callable[[Config], Network]:
    return lambda config: _build(config, pair)


_LLAMA = {"model_type": "llama"}

_QWEN2 = {"model_type": "qwen2"}

_IDEFICS3 = Pair(
    {"model_type": "idefics3_vision"}, _LLAMA, _idefics3,
    defaults={"scale_factor": 2}, merged=_shuffled,
)  # fmt: skip


def crossed(hidden: int, heads: int, positions: float) -> AttentionShape:
    """Attention of learned queries to the positions of a tower."""
    return AttentionShape(
        hidden,
        heads,
        heads,
        hidden // heads,
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(positions),
        key_inputs=hidden,
    )


FAMILIES = {
    "aya_vision": _family(
        Pair(
            SIGLIP_LARGE | {"num_attention_heads": 14},
            {"model_type": "cohere2"},
            _aya,
            True,
            {"downsample_factor": 2},
            _factored,
        )
    ),
    "cohere2_vision": _family(
        Pair(
            {
                "model_type": "siglip_vision_model",
                "hidden_size": 1152,
                "intermediate_size": 3072,
                "image_size": 512,
                "num_hidden_layers": 27,
                "num_attention_heads": 12,
            },
            {"model_type": "cohere2"},
            _cohere2,
            True,
            {"downsample_factor": 2, "alignment_intermediate_size": 36864},
            _factored,
        )
    ),
    "gemma3": _family(
        Pair(
            {"model_type": "siglip_vision_model"},
            {"model_type": "gemma3_text"},
            _gemma3,
            True,
            {"mm_tokens_per_image": 256},
            lambda config, made: config.integer("mm_tokens_per_image"),
        )
    ),
    "idefics3": _family(_IDEFICS3),
    "internvl": _family(
        Pair(
            {"model_type": "internvl_vision"},
            _QWEN2,
            _internvl,
            True,
            {"downsample_ratio": 0.5},
            _sampled,
        )
    ),
    "lfm2_vl": _family(
        Pair(
            {"model_type": "siglip2_vision_model"},
            {"model_type": "lfm2"},
            _lfm2,
            True,
            {
                "downsample_factor": 2,
                "projector_hidden_size": 2560,
                "projector_bias": True,
                "projector_use_layernorm": True,
            },
            _factored,
        )
    ),
    "llava": _family(Pair(CLIP_LARGE, _LLAMA, _llava, forwards_tie=True)),
    "llava_next": _family(Pair(CLIP_LARGE, _LLAMA, _llava_next)),
    "llava_next_video": _family(Pair(CLIP_LARGE, _LLAMA, _llava_next, forwards_tie=True)),
    "llava_onevision": _family(Pair(SIGLIP_LARGE, _QWEN2, _llava_next, forwards_tie=True)),
    "mistral3": _family(
        Pair(
            MISTRAL3_VISION,
            MISTRAL3_TEXT,
            _mistral3,
            True,
            {"spatial_merge_size": 2, "multimodal_projector_bias": False},
            _merged,
        )
    ),
    "paligemma": _family(
        Pair(
            SIGLIP_LARGE | {"intermediate_size": 4096, "image_size": 224, "num_hidden_layers": 27},
            PALIGEMMA_TEXT,
            _paligemma,
            True,
            {"projection_dim": 2048},
        )
    ),
    "smolvlm": _family(replace(_IDEFICS3, vision={"model_type": "smolvlm_vision"})),
    "video_llava": _family(Pair(CLIP_LARGE | {"image_size": 224}, _LLAMA, _llava, towers=2)),
    "vipllava": _family(
        Pair(
            CLIP_LARGE,
            _LLAMA,
            _vipllava,
            defaults={"vision_feature_layer": [-2, -5, -8, -11, 6]},
        )
    ),
}
