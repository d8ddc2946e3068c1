"""Idefics2: images through a perceiver (Laurencon et al. 2024, arXiv 2405.02246).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, attention, gated_mlp
from service.core.architecture.families.multimodal import decoder, joined, part
from service.core.architecture.families.towers import tower
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

PERCEIVER = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "resampler_n_latents": 64,
    "resampler_depth": 3,
    "resampler_n_heads": 16,
    "resampler_head_dim": 96,
    "num_key_value_heads": 4,
}


def idefics2(config: Config) -> Network:
    """Idefics2ForConditionalGeneration: a perceiver samples the image down to 64 vectors."""
    given = part(config, "text_config", {"model_type": "mistral"})
    text = decoder(config, given, config.flag("tie_word_embeddings"), "text_config")
    section = config.section("vision_config")
    plain = Config({k: v for k, v in section.data.items() if k != "model_type"}, path=section.path)
    made = tower(plain, "idefics2_vision")
    given_sampler = {**config.section("perceiver_config").data, "hidden_size": text.hidden_size}
    sampler = Config(given_sampler, PERCEIVER, "perceiver_config")
    inner = Config(given, {"intermediate_size": 14336, "hidden_act": "silu"}, "text_config")
    mlp = gated_mlp(
        made.width, inner.integer("intermediate_size"), inner.text("hidden_act"), name="projection"
    )
    wide = replace(mlp.children[-1], outputs=text.hidden_size)  # type: ignore[call-arg]
    projection = replace(mlp, children=(*mlp.children[:-1], wide), stream=fixed(made.positions))
    blocks = (*made.blocks, projection, _perceiver(sampler, made.positions))
    return joined(config, blocks, text)


def _perceiver(config: Config, positions: int) -> Block:
    hidden, latents = config.integer("hidden_size"), config.integer("resampler_n_latents")
    heads, groups = config.integer("resampler_n_heads"), config.integer("num_key_value_heads")
    shape = AttentionShape(
        hidden,
        heads,
        groups,
        config.integer("resampler_head_dim"),
        rotary=False,
        causal=False,
        keys=fixed(float(positions + latents)),
        key_inputs=hidden,
    )
    children = (
        Norm("input_latents_norm", hidden),
        Block("context", (Norm("input_context_norm", hidden),), stream=fixed(positions)),
        attention(shape),
        Norm("post_attention_layernorm", hidden),
        gated_mlp(hidden, 4 * hidden, config.text("hidden_act")),
    )
    depth = config.layers("resampler_depth")
    return Block(
        "perceiver",
        (
            Parameter("latents", (latents, hidden)),
            Block("perceiver_layer", children, repeat=depth),
            Norm("norm", hidden),
        ),
        stream=fixed(float(latents)),
    )


FAMILIES = {
    "idefics2": idefics2,
}
