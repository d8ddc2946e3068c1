"""Types whose code lives beside their weights, and which are another line in all but name.

baichuan (Yang et al. 2023, arXiv 2309.10305), internlm2 (Cai et al. 2024, 2403.17297), minicpm (Hu
et al. 2024, 2404.06395), qwen (Bai et al. 2023, 2309.16609). Defaults are those of the class of
transformers 5.23.0 that they are built with.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, gated_mlp
from service.core.architecture.families.dense import dense
from service.core.architecture.families.llama import LLAMA, llama
from service.core.architecture.families.trunk import head_width, read, refuse
from service.core.architecture.network import Network

QWEN = LLAMA | {"vocab_size": 151936, "intermediate_size": 22016, "no_bias": True}


def qwen(config: Config) -> Network:
    """Qwen v1: each half of the gated feed-forward has half the stated width."""
    config = read(config, QWEN)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    bias = not config.flag("no_bias")
    width = config.optional("kv_channels", 1) or head_width(config, hidden, heads)
    shape = AttentionShape(hidden, heads, heads, width, bias=True, output_bias=bias)
    mlp = gated_mlp(hidden, config.integer("intermediate_size") // 2, bias=bias)
    return dense(config, shape, mlp)


def internlm2(config: Config) -> Network:
    """InternLM2 without biases, which is Llama with a fused projection."""
    if config.flag("bias"):
        raise refuse(config, "bias", "false")
    return llama(config)


def minicpm(config: Config) -> Network:
    """MiniCPM, which is Llama with scaled residuals."""
    if config.get("num_experts"):
        raise refuse(config, "num_experts", "0")
    return llama(config)


FAMILIES = {"baichuan": llama, "internlm2": internlm2, "minicpm": minicpm, "qwen": qwen}
