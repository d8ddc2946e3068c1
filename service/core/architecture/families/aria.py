"""Aria: a mixture of experts that reads images through queries (Li et al. 2024, arXiv 2410.05993).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import attention
from service.core.architecture.families.dense import biased, dense
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.experts import experts, shared_expert
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.multimodal import crossed, decoder, joined, part
from service.core.architecture.families.towers import tower
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Linear, Parameter
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

ARIA = LLAMA | {
    "intermediate_size": 4096,
    "moe_num_experts": 8,
    "moe_topk": 2,
    "moe_num_shared_experts": 2,
}


def aria(config: Config) -> Network:
    """AriaForConditionalGeneration: learned queries read the image."""
    config = read(config, {"max_value_projector_patch_to_query_dict": 256})
    given = part(config, "text_config", {"model_type": "aria_text"}) | {"model_type": "aria_text"}
    text = decoder(config, given, config.flag("tie_word_embeddings"), "text_config")
    section = config.section("vision_config")
    made = tower(section, "idefics3_vision")
    width, output = made.width, text.hidden_size
    heads = Config(section.data, {"num_attention_heads": 16}, section.path)
    inner = attention(crossed(width, heads.integer("num_attention_heads"), made.positions))
    before = tuple(Linear(f"{name}_proj", width, width) for name in "qkv")
    queries = config.integer("max_value_projector_patch_to_query_dict")
    projector = Block(
        "projector",
        (
            Parameter("query", (queries, width)),
            norm("layer_norm_q", width),
            before[0],
            Block(
                "keys", (norm("layer_norm_kv", width), *before[1:]), stream=fixed(made.positions)
            ),
            inner,
            Linear("linear", width, width, True),
            norm("layer_norm", width),
            Linear("linear_in", width, output),
            Activation("act", output, "gelu_new"),
            Linear("linear_out", output, output),
        ),
        stream=fixed(_queries(config, made.positions, queries)),
    )
    return joined(config, (*made.blocks, projector), text)


def _queries(config: Config, positions: int, most: int) -> float:
    """Vectors of one image of that many patches that reach the decoder."""
    section = config.section("projector_patch_to_query_dict")
    found = section.optional(str(positions), 1)
    return float(found or most)


def aria_text(config: Config) -> Network:
    """AriaTextForCausalLM: shared experts as one feed-forward."""
    config = read(config, ARIA)
    inner = config.integer("intermediate_size") * config.integer("moe_num_shared_experts", 0)
    shared = shared_expert(config, inner, bias=config.flag("mlp_bias"))
    size = ("intermediate_size", "moe_num_experts", "moe_topk")
    return dense(config, biased(config), experts(config, *size, shared=shared, router="router"))


FAMILIES = {
    "aria": aria,
    "aria_text": aria_text,
}
