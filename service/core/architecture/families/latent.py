"""Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.architecture.families.config import Config
from service.core.architecture.families.trunk import probability
from service.core.architecture.operators import Attention, Linear, Norm, Operator, Rotary
from service.core.architecture.tree import Block


@dataclass(frozen=True)
class Latent:
    """The sizes."""

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
