"""Doge: attention whose mask the values decide (arXiv 2412.11834).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.dense import biased, dense, pre_norm, swiglu
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import read, refuse, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm, Parameter
from service.core.architecture.tree import Block

DOGE = LLAMA | {
    "vocab_size": 32768,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
}


def doge(config: Config) -> Network:
    """DogeForCausalLM without experts: values decide what attention masks."""
    config = read(config, DOGE)
    if config.flag("is_moe"):
        raise refuse(config, "is_moe", "false")
    shape = biased(config, head_norm=Norm("norm", 0), window=window(config))
    groups = shape.key_value_heads
    mask: Children = (
        Parameter("A", (groups,)),
        Linear("dt_proj", groups * shape.head_dim, groups, config.flag("attention_bias")),
    )
    shape = replace(shape, extra=mask)
    return dense(config, shape, swiglu(config, "mlp_bias"), arrange=_doge_layer)


def _doge_layer(norm: Norm, attention: Block, mlp: Block) -> Children:
    scale = (norm.width,)
    first, half, second, last = pre_norm(norm, attention, mlp)
    after = Parameter("post_attention_residual", scale)
    return first, half, Parameter("input_residual", scale), second, last, after


FAMILIES = {
    "doge": doge,
}
