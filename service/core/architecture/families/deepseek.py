"""The DeepSeek line: multi-head latent attention, shared and routed experts.

deepseek_v2 (DeepSeek-AI 2024, arXiv 2405.04434), deepseek_v3 (2412.19437), kimi_k2 (2507.20534).
Multi-token-prediction modules are not part of the class and not counted. Defaults are those of
transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import gated_mlp, mixture
from service.core.architecture.families.dense import pre_norm
from service.core.architecture.families.mixtral import routed
from service.core.architecture.families.trunk import causal_lm, probability, read, runs
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Attention, Linear, Norm, Operator, Rotary

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
    "hidden_size": 5120,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "num_hidden_layers": 60,
}


@dataclass(frozen=True)
class Latent:
    """Sizes of multi-head latent attention (arXiv 2405.04434, section 2.1)."""

    hidden: int
    heads: int
    query_rank: int | None
    rank: int
    rotary: int
    plain: int
    value: int
    bias: bool = False
    """Biases of the down projections and of the output."""
    dropout: float = 0.0


def latent(config: Config) -> Latent:
    """The sizes from the names that this line uses."""
    return Latent(
        config.integer("hidden_size"),
        config.integer("num_attention_heads"),
        config.optional("q_lora_rank", 1),
        config.integer("kv_lora_rank"),
        config.integer("qk_rope_head_dim", 0),
        config.integer("qk_nope_head_dim", 0),
        config.integer("v_head_dim"),
        config.flag("attention_bias"),
        probability(config, "attention_dropout"),
    )


def latent_attention(sizes: Latent) -> Block:
    """Queries, keys and values through low-rank projections; the cache holds the latent."""
    heads, key = sizes.heads, sizes.plain + sizes.rotary
    shared = sizes.rank + sizes.rotary
    children: list[Operator] = [
        *_queries(sizes, heads * key),
        Linear("kv_a_proj_with_mqa", sizes.hidden, shared, sizes.bias, keeps_input=False),
        Norm("kv_a_layernorm", sizes.rank),
        Linear("kv_b_proj", sizes.rank, heads * (sizes.plain + sizes.value), split="column"),
        Rotary("rotary", (heads + 1) * sizes.rotary),
        Attention(
            "attention",
            heads,
            heads,
            key,
            sizes.value,
            dropout=sizes.dropout,
            latent_cache=shared,
        ),
        Linear("o_proj", heads * sizes.value, sizes.hidden, sizes.bias, "row"),
    ]
    return Block("attention", tuple(children))


def _queries(sizes: Latent, outputs: int) -> list[Operator]:
    if sizes.query_rank is None:
        return [Linear("q_proj", sizes.hidden, outputs, split="column")]
    return [
        Linear("q_a_proj", sizes.hidden, sizes.query_rank, sizes.bias),
        Norm("q_a_layernorm", sizes.query_rank),
        Linear("q_b_proj", sizes.query_rank, outputs, split="column"),
    ]


def deepseek(config: Config) -> Network:
    """DeepseekV2ForCausalLM and DeepseekV3ForCausalLM: dense layers first, then mixtures."""
    hidden, activation = config.integer("hidden_size"), config.text("hidden_act")
    attention = latent_attention(latent(config))
    mlp = gated_mlp(hidden, config.integer("intermediate_size"), activation)
    inner = config.integer("moe_intermediate_size")
    expert = gated_mlp(hidden, inner, activation)
    shared = config.integer("n_shared_experts", 1, 10_000) * inner
    together = gated_mlp(hidden, shared, activation, name="shared_experts")
    experts = routed(config, "n_routed_experts", "num_experts_per_tok")
    moe = mixture(hidden, expert, *experts, shared=(together,))
    layers = config.layers("num_hidden_layers")
    first = config.integer("first_k_dense_replace", 0)
    norm = Norm("norm", hidden)
    sparse = [index >= first for index in range(layers)]
    blocks = runs(sparse, lambda kind: pre_norm(norm, attention, moe if kind else mlp))
    return causal_lm(config, hidden, blocks, norm)


def deepseek_v2(config: Config) -> Network:
    """DeepseekV2ForCausalLM."""
    return deepseek(read(config, V2, {"num_local_experts": "n_routed_experts"}))


def deepseek_v3(config: Config) -> Network:
    """DeepseekV3ForCausalLM, which Kimi K2 uses too."""
    return deepseek(read(config, V3, {"num_local_experts": "n_routed_experts"}))


FAMILIES = {"deepseek_v2": deepseek_v2, "deepseek_v3": deepseek_v3, "kimi_k2": deepseek_v3}
