"""Types whose code lives beside their weights; most are another line in all but name.

baichuan (Yang et al. 2023, arXiv 2309.10305), chatglm (2406.12793), deepseek (2401.06066),
internlm and internlm2 (Cai et al. 2024, 2403.17297), minicpm (Hu et al. 2024, 2404.06395), qwen
(Bai et al. 2023, 2309.16609). Defaults are those of the class of transformers 5.23.0 that they are
built with, or of their own code.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    fused_gated_mlp,
    gated_mlp,
)
from service.core.architecture.families.dense import biased, dense, swiglu
from service.core.architecture.families.experts import after, experts, several_shared, sparse
from service.core.architecture.families.llama import LLAMA, llama
from service.core.architecture.families.trunk import head_width, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

CHATGLM = {
    "vocab_size": 65024,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "kv_channels": 128,
    "num_layers": 28,
    "num_attention_heads": 32,
    "multi_query_group_num": 1,
    "rmsnorm": True,
    "post_layer_norm": True,
    "seq_length": 2048,
}
DEEPSEEK = LLAMA | {
    "vocab_size": 102400,
    "moe_intermediate_size": 1407,
    "num_hidden_layers": 30,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 0,
}
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


def chatglm(config: Config) -> Network:
    """ChatGLM2, ChatGLM3 and GLM-4: fused projections, a wide gated feed-forward."""
    config = read(config, CHATGLM, {"padded_vocab_size": "vocab_size"})
    for field in ("pre_seq_len", "prefix_projection", "apply_residual_connection_post_layernorm"):
        if config.get(field):
            raise refuse(config, field, "left out")
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    groups = config.integer("multi_query_group_num") if config.flag("multi_query_attention") else 0
    bias, rms = config.flag("add_bias_linear"), config.flag("rmsnorm")
    shape = AttentionShape(
        hidden,
        heads,
        groups or heads,
        config.integer("kv_channels"),
        bias=bias or config.flag("add_qkv_bias"),
        output_bias=bias,
        fused="query_key_value",
        names=("", "", "", "dense"),
    )
    inner, names = config.integer("ffn_hidden_size"), ("dense_h_to_4h", "dense_4h_to_h")
    return dense(
        config,
        shape,
        fused_gated_mlp(hidden, inner, "silu", bias, names),
        norm=Norm("final_layernorm", hidden, "rms" if rms else "layer", bias=not rms),
        layers="num_layers",
        ends=config.flag("post_layer_norm"),
        names=("word_embeddings", "output_layer"),
        limit="seq_length",
    )


def deepseek(config: Config) -> Network:
    """DeepSeek-MoE: Llama's attention, shared and routed experts (arXiv 2401.06066)."""
    config = read(config, DEEPSEEK)
    if config.integer("moe_layer_freq") != 1:
        raise refuse(config, "moe_layer_freq", "1")
    moe = experts(config, count="n_routed_experts", shared=several_shared(config))
    which = after(config, "first_k_dense_replace")
    return sparse(config, biased(config), swiglu(config), moe, which)


FAMILIES = {
    "baichuan": llama,
    "chatglm": chatglm,
    "deepseek": deepseek,
    "internlm": internlm,
    "internlm2": internlm2,
    "internlm3": internlm3,
    "iquestcoder": iquestcoder,
    "minicpm": minicpm,
    "qwen": qwen,
}
