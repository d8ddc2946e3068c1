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

from service.core.architecture.families import image_projectors as project
from service.core.architecture.families import registry
from service.core.architecture.families.config import Config, UnknownArchitecture
from service.core.architecture.families.decoder import AttentionShape, Children
from service.core.architecture.families.towers import Tower, tower
from service.core.architecture.families.trunk import named_class, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Operator
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


def _family(pair: Pair) -> Callable[[Config], Network]:
    return lambda config: _build(config, pair)


_LLAMA = {"model_type": "llama"}

_QWEN2 = {"model_type": "qwen2"}

_IDEFICS3 = Pair(
    {"model_type": "idefics3_vision"}, _LLAMA, project.idefics3,
    defaults={"scale_factor": 2}, merged=project.shuffled,
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
            project.aya,
            True,
            {"downsample_factor": 2},
            project.factored,
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
            project.cohere2,
            True,
            {"downsample_factor": 2, "alignment_intermediate_size": 36864},
            project.factored,
        )
    ),
    "gemma3": _family(
        Pair(
            {"model_type": "siglip_vision_model"},
            {"model_type": "gemma3_text"},
            project.gemma3,
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
            project.internvl,
            True,
            {"downsample_ratio": 0.5},
            project.sampled,
        )
    ),
    "lfm2_vl": _family(
        Pair(
            {"model_type": "siglip2_vision_model"},
            {"model_type": "lfm2"},
            project.lfm2,
            True,
            {
                "downsample_factor": 2,
                "projector_hidden_size": 2560,
                "projector_bias": True,
                "projector_use_layernorm": True,
            },
            project.factored,
        )
    ),
    "llava": _family(Pair(CLIP_LARGE, _LLAMA, project.llava, forwards_tie=True)),
    "llava_next": _family(Pair(CLIP_LARGE, _LLAMA, project.llava_next)),
    "llava_next_video": _family(Pair(CLIP_LARGE, _LLAMA, project.llava_next, forwards_tie=True)),
    "llava_onevision": _family(Pair(SIGLIP_LARGE, _QWEN2, project.llava_next, forwards_tie=True)),
    "mistral3": _family(
        Pair(
            MISTRAL3_VISION,
            MISTRAL3_TEXT,
            project.mistral3,
            True,
            {"spatial_merge_size": 2, "multimodal_projector_bias": False},
            project.merged,
        )
    ),
    "paligemma": _family(
        Pair(
            SIGLIP_LARGE | {"intermediate_size": 4096, "image_size": 224, "num_hidden_layers": 27},
            PALIGEMMA_TEXT,
            project.paligemma,
            True,
            {"projection_dim": 2048},
        )
    ),
    "smolvlm": _family(replace(_IDEFICS3, vision={"model_type": "smolvlm_vision"})),
    "video_llava": _family(Pair(CLIP_LARGE | {"image_size": 224}, _LLAMA, project.llava, towers=2)),
    "vipllava": _family(
        Pair(
            CLIP_LARGE,
            _LLAMA,
            project.vipllava,
            defaults={"vision_feature_layer": [-2, -5, -8, -11, 6]},
        )
    ),
}
