"""Types whose code lives beside their weights, and which are another line in all but name.

baichuan (Yang et al. 2023, arXiv 2309.10305), internlm and internlm2 (Cai et al.
2024, 2403.17297), minicpm (Hu
et al. 2024, 2404.06395), qwen (Bai et al. 2023, 2309.16609). Defaults are those of the class of
transformers 5.23.0 that they are built with.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import AttentionShape, gated_mlp
from service.core.architecture.families.dense import biased, dense, swiglu
from service.core.architecture.families.llama import LLAMA, llama
from service.core.architecture.families.trunk import head_width, read, refuse
from service.core.architecture.network import Network

INTERNLM = LLAMA | {"vocab_size": 103168, "bias": True}
INTERNLM3 = LLAMA | {
    "vocab_size": 128512,
    "intermediate_size": 10240,
    "num_hidden_layers": 48,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 32768,
}
IQUEST = LLAMA | {
    "vocab_size": 76800,
    "hidden_size": 5120,
    "intermediate_size": 27648,
    "num_hidden_layers": 80,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
}
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


def internlm(config: Config) -> Network:
    """InternLM v1: Llama with one field for the biases of attention."""
    config = read(config, INTERNLM)
    return dense(config, biased(config, "bias"), swiglu(config))


def internlm3(config: Config) -> Network:
    """InternLM3 as LlamaForCausalLM."""
    return llama(config, INTERNLM3, {"qkv_bias": "attention_bias", "bias": "mlp_bias"})


def iquestcoder(config: Config) -> Network:
    """IQuest-Coder as LlamaForCausalLM."""
    return llama(config, IQUEST)


FAMILIES = {
    "baichuan": llama,
    "internlm": internlm,
    "internlm2": internlm2,
    "internlm3": internlm3,
    "iquestcoder": iquestcoder,
    "minicpm": minicpm,
    "qwen": qwen,
}
