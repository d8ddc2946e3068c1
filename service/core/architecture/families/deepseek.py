"""The DeepSeek line: multi-head latent attention, shared and routed experts, dense layers first.

deepseek_v2 (DeepSeek-AI 2024, arXiv 2405.04434), deepseek_v3 (2412.19437), kimi_k2 (2507.20534),
longcat_flash (2509.01322), and kin that take one of its parts. Multi-token-prediction modules are
not part of the class and not counted. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import gated_mlp
from service.core.architecture.families.dense import biased, pre_norm, swiglu, windows
from service.core.architecture.families.experts import (
    MOST,
    after,
    experts,
    marked,
    routed,
    several_shared,
    sparse,
)
from service.core.architecture.families.latent import latent, latent_attention
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    grouped,
    read,
    refuse,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm
from service.core.architecture.tree import Block, Routing

V3 = {
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
}
V2 = V3 | {
    "vocab_size": 102400,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "moe_intermediate_size": 1407,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "n_shared_experts": 2,
    "n_routed_experts": 64,
    "num_experts_per_tok": None,
    "first_k_dense_replace": 0,
    "max_position_embeddings": 2048,
}
LITE = V3 | {
    "vocab_size": 154880,
    "hidden_size": 2048,
    "intermediate_size": 10240,
    "moe_intermediate_size": 1536,
    "num_hidden_layers": 47,
    "num_attention_heads": 20,
    "n_routed_experts": 64,
    "num_experts_per_tok": 4,
    "q_lora_rank": 768,
    "qk_nope_head_dim": 192,
    "v_head_dim": 256,
    "max_position_embeddings": 202752,
}
YOUTU = V3 | {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}
MINICPM3 = {
    "vocab_size": 73448,
    "hidden_size": 2560,
    "intermediate_size": 6400,
    "num_hidden_layers": 62,
    "num_attention_heads": 40,
    "kv_lora_rank": 256,
    "q_lora_rank": 768,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}
LONGCAT = V3 | {
    "vocab_size": 131072,
    "hidden_size": 6144,
    "num_layers": 28,
    "num_attention_heads": 64,
    "ffn_hidden_size": 12288,
    "expert_ffn_hidden_size": 2048,
    "n_routed_experts": 512,
    "zero_expert_num": 256,
    "moe_topk": 12,
    "max_position_embeddings": 131072,
}
GLM = LLAMA | {
    "vocab_size": 151552,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 46,
    "num_attention_heads": 96,
    "num_key_value_heads": 8,
    "n_shared_experts": 1,
    "n_routed_experts": 128,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 131072,
}
SOLAR = GLM | {
    "vocab_size": 196608,
    "moe_intermediate_size": 1280,
    "num_hidden_layers": 48,
    "num_attention_heads": 64,
    "head_dim": 128,
    "first_k_dense_replace": 0,
}
DOTS = LLAMA | {
    "vocab_size": 152064,
    "hidden_size": 4608,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 62,
    "num_key_value_heads": 32,
    "first_k_dense_replace": 0,
    "sliding_window": 4096,
    "max_window_layers": 62,
}
ROUTED = {"num_local_experts": "n_routed_experts"}


def _experts(config: Config, bias: str = "") -> Block:
    return experts(config, count="n_routed_experts", shared=several_shared(config, bias=bias))


def deepseek_v2(config: Config) -> Network:
    """DeepseekV2ForCausalLM: dense layers first, then mixtures."""
    config = read(config, V2, {"num_experts": "n_routed_experts"})
    mlp, moe = swiglu(config, "mlp_bias"), _experts(config, "mlp_bias")
    block = latent_attention(latent(config))
    return sparse(config, block, mlp, moe, after(config, "first_k_dense_replace"))


def deepseek_v3(config: Config) -> Network:
    """DeepseekV3ForCausalLM, which Kimi K2 and Moonlight use too."""
    config = read(config, V3, ROUTED)
    block = latent_attention(latent(config))
    which = after(config, "first_k_dense_replace")
    return sparse(config, block, swiglu(config), _experts(config), which)


def glm4_moe_lite(config: Config) -> Network:
    """Glm4MoeLiteForCausalLM: DeepSeek's layer with a list of kinds."""
    config = read(config, LITE, ROUTED | {"head_dim": "qk_rope_head_dim"})
    block = latent_attention(latent(config))
    return sparse(config, block, swiglu(config), _experts(config), marked(config))


def youtu(config: Config) -> Network:
    """YoutuForCausalLM: latent attention with a dense feed-forward (arXiv 2512.24618)."""
    return _dense_latent(read(config, YOUTU), "")


def minicpm3(config: Config) -> Network:
    """MiniCPM3ForCausalLM: latent attention with a dense feed-forward."""
    config = read(config, MINICPM3)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    value = config.optional("v_head_dim", 1) or hidden // heads
    return _dense_latent(read(config, {**config.defaults, "v_head_dim": value}), "mlp_bias")


def _dense_latent(config: Config, bias: str) -> Network:
    block, mlp = latent_attention(latent(config)), swiglu(config, bias)
    return sparse(config, block, mlp, mlp, [False] * config.layers("num_hidden_layers"))


def longcat_flash(config: Config) -> Network:
    """LongcatFlashForCausalLM: two attentions and two dense feed-forwards beside one mixture.

    Some of the experts that the router knows do nothing and hold nothing ("zero experts").
    """
    config = read(config, LONGCAT, ROUTED)
    hidden, activation = config.integer("hidden_size"), config.text("hidden_act")
    sizes, norm = latent(config), Norm("norm", hidden)
    if config.optional("qk_head_dim") not in (None, sizes.plain + sizes.rotary):
        raise refuse(config, "qk_head_dim", "qk_nope_head_dim + qk_rope_head_dim")
    block = latent_attention(sizes)
    mlp = gated_mlp(hidden, config.integer("ffn_hidden_size"), activation, name="mlps")
    expert = gated_mlp(hidden, config.integer("expert_ffn_hidden_size"), activation)
    count, active = routed(config, "n_routed_experts", "moe_topk")
    zero = config.optional("zero_expert_num", 0, MOST) or 0
    router = Linear("classifier", hidden, count + zero, config.flag("router_bias"))
    moe = Block(
        "mixture",
        (
            Block("router", (router,)),
            Block("experts", expert.children, routing=Routing(count, active)),
        ),
    )
    half = pre_norm(norm, block, mlp)
    layers = runs([None] * config.layers("num_layers"), lambda _: (*half, moe, *half))
    return causal_lm(config, hidden, layers, norm)


def glm4_moe(config: Config) -> Network:
    """Glm4MoeForCausalLM: grouped-query attention with DeepSeek's mixture (arXiv 2508.06471)."""
    config = read(config, GLM, ROUTED)
    head_norm = Norm("norm", 0) if config.flag("use_qk_norm") else None
    shape = grouped(config, bias=config.flag("attention_bias"), head_norm=head_norm)
    which = after(config, "first_k_dense_replace")
    return sparse(config, shape, swiglu(config), _experts(config), which)


def solar_open(config: Config) -> Network:
    """SolarOpenForCausalLM: a mixture in every layer."""
    config = read(config, SOLAR, ROUTED)
    moe = _experts(config)
    shape = grouped(config, bias=config.flag("attention_bias"))
    return sparse(config, shape, moe, moe, [True] * config.layers("num_hidden_layers"))


def dots1(config: Config) -> Network:
    """Dots1ForCausalLM (arXiv 2506.05767)."""
    config = read(config, DOTS, ROUTED)
    last = config.integer("max_window_layers", 0)
    size = window(config)
    pattern = windows(config, lambda index: SLIDING if size and index >= last else FULL)
    shape = biased(config, head_norm=Norm("norm", 0))
    which = after(config, "first_k_dense_replace")
    return sparse(config, shape, swiglu(config), _experts(config), which, windows=pattern)


FAMILIES = {
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "dots1": dots1,
    "glm4_moe": glm4_moe,
    "glm4_moe_lite": glm4_moe_lite,
    "kimi_k2": deepseek_v3,
    "longcat_flash": longcat_flash,
    "minicpm3": minicpm3,
    "solar_open": solar_open,
    "youtu": youtu,
}
