"""The Llama line: RMSNorm, rotary positions, grouped-query attention, a gated feed-forward.

llama (Touvron et al. 2023, arXiv 2302.13971; Dubey et al. 2024, arXiv 2407.21783), mistral (Jiang
et al. 2023, arXiv 2310.06825), ministral, qwen2 (Yang et al. 2024, arXiv 2407.10671), qwen3 (Yang
et al. 2025, arXiv 2505.09388). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import biased, dense, swiglu, windows
from service.core.architecture.families.trunk import FULL, SLIDING, grouped, kinds, read, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
}
MISTRAL = LLAMA | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
}
MINISTRAL3 = MISTRAL | {
    "vocab_size": 131072,
    "num_hidden_layers": 34,
    "head_dim": 128,
    "sliding_window": None,
    "max_position_embeddings": 262144,
}
QWEN2 = LLAMA | {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "max_position_embeddings": 32768,
}
QWEN3 = QWEN2 | {"head_dim": 128}


def llama(
    config: Config,
    defaults: Mapping[str, Any] = LLAMA,
    aliases: Mapping[str, str] | None = None,
) -> Network:
    """LlamaForCausalLM."""
    config = read(config, defaults, aliases)
    return dense(config, biased(config), swiglu(config, "mlp_bias"))


def mistral(config: Config, defaults: Mapping[str, Any] = MISTRAL) -> Network:
    """MistralForCausalLM: a sliding window over all layers."""
    config = read(config, defaults)
    return dense(config, grouped(config, window=window(config)), swiglu(config))


def ministral(config: Config) -> Network:
    """MinistralForCausalLM: sliding and full layers, all sliding where the config is silent."""
    config = read(config, MISTRAL)
    pattern = windows(config, lambda _: SLIDING if config.get("sliding_window") else FULL)
    return dense(config, grouped(config), swiglu(config), windows=pattern)


def ministral3(config: Config) -> Network:
    """Ministral3ForCausalLM."""
    return mistral(config, MINISTRAL3)


def qwen_windows(config: Config) -> list[int | None]:
    """Qwen's windows: off unless asked for, then from layer `max_window_layers` on."""
    if not config.flag("use_sliding_window") or config.get("sliding_window") is None:
        return [None] * len(kinds(config, lambda _: FULL))
    first = config.integer("max_window_layers", 0)
    return windows(config, lambda index: SLIDING if index >= first else FULL)


def qwen2(config: Config) -> Network:
    """Qwen2ForCausalLM: biases on queries, keys and values."""
    config = read(config, QWEN2)
    return dense(config, grouped(config, bias=True), swiglu(config), windows=qwen_windows(config))


def qwen3(config: Config) -> Network:
    """Qwen3ForCausalLM: each head's queries and keys are normalised."""
    config = read(config, QWEN3)
    shape = biased(config, head_norm=Norm("norm", 0))
    return dense(config, shape, swiglu(config), windows=qwen_windows(config))


FAMILIES = {
    "llama": llama,
    "mistral": mistral,
    "ministral": ministral,
    "ministral3": ministral3,
    "qwen2": qwen2,
    "qwen3": qwen3,
}
