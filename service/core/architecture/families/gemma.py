"""The Gemma line: scaled tied embeddings, GeGLU, wide heads, alternating windows.

gemma (Gemma Team 2024, arXiv 2403.08295), gemma2 (2408.00118), gemma3 text (2503.19786).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import (
    biased,
    dense,
    every,
    pre_norm,
    sandwich,
    swiglu,
    windows,
)
from service.core.architecture.families.trunk import read
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm
from service.core.architecture.tree import Block

GEMMA = {
    "vocab_size": 256000,
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
GEMMA2 = GEMMA | {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
}
GEMMA3 = GEMMA2 | {"vocab_size": 262208, "max_position_embeddings": 131072}


def geglu(config: Config) -> Block:
    """The gated feed-forward with GELU."""
    return swiglu(config, activation="hidden_activation")


def gemma(config: Config) -> Network:
    """GemmaForCausalLM."""
    config = read(config, GEMMA)
    return dense(config, biased(config), swiglu(config))


def gemma2(config: Config) -> Network:
    """Gemma2ForCausalLM: a sliding window on every other layer, norms around both halves."""
    config = read(config, GEMMA2)
    pattern = windows(config, every(2))
    return dense(config, biased(config), geglu(config), arrange=sandwich, windows=pattern)


def gemma3(config: Config) -> Network:
    """Gemma3ForCausalLM (text): five sliding layers to one full, normalised queries and keys."""
    config = read(config, GEMMA3 | {"sliding_window_pattern": 6})
    pattern = windows(config, every(config.integer("sliding_window_pattern")))
    shape = biased(config, head_norm=Norm("norm", 0))
    return dense(config, shape, geglu(config), arrange=sandwich, windows=pattern)


def vaultgemma(config: Config) -> Network:
    """VaultGemmaForCausalLM: Gemma 2 without the norms after each half."""
    config = read(config, GEMMA2)
    pattern = windows(config, every(2))
    return dense(config, biased(config), geglu(config), arrange=pre_norm, windows=pattern)


FAMILIES = {"gemma": gemma, "gemma2": gemma2, "gemma3_text": gemma3, "vaultgemma": vaultgemma}
