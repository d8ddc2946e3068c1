"""Mixtures of experts in the Llama line.

mixtral (Jiang et al. 2024, arXiv 2401.04088). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import gated_mlp, mixture
from service.core.architecture.families.dense import dense
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import grouped, read, window
from service.core.architecture.network import Network

MIXTRAL = LLAMA | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 131072,
}


def routed(config: Config, count: str, active: str) -> tuple[int, int]:
    """(experts, experts that work on a token), from the two fields named."""
    experts = config.integer(count, 1, 100_000)
    chosen = config.integer(active, 1, 100_000)
    if chosen > experts:
        raise ConfigError(config.where(active), f"{active} exceeds {count}")
    return experts, chosen


def mixtral(config: Config) -> Network:
    """MixtralForCausalLM."""
    config = read(config, MIXTRAL, {"num_experts": "num_local_experts"})
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    expert = gated_mlp(hidden, inner, config.text("hidden_act"))
    experts = routed(config, "num_local_experts", "num_experts_per_tok")
    return dense(config, grouped(config, window=window(config)), mixture(hidden, expert, *experts))


FAMILIES = {"mixtral": mixtral}
