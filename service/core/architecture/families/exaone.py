"""EXAONE: sliding windows, norms after each half, later a mixture of experts.

exaone4 (LG AI Research 2025, arXiv 2507.11407), exaone_moe.
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import dense, every, post_norm, swiglu, windows
from service.core.architecture.families.experts import experts, marked, several_shared, sparse
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import FULL, SLIDING, grouped, read, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm

EXAONE_MOE = LLAMA | {
    "vocab_size": 102400,
    "intermediate_size": 16384,
    "num_key_value_heads": 32,
    "moe_intermediate_size": 1024,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
}

EXAONE4 = LLAMA | {
    "vocab_size": 102400,
    "intermediate_size": 16384,
    "num_key_value_heads": 32,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
}


def exaone_moe(config: Config) -> Network:
    """ExaoneMoeForCausalLM."""
    config = read(config, EXAONE_MOE)
    return sparse(
        config,
        grouped(config, head_norm=Norm("norm", 0)),
        swiglu(config),
        experts(config, shared=several_shared(config, "num_shared_experts")),
        marked(config, config.integer("first_k_dense_replace", 0)),
        windows=windows(config, exaone_pattern(config)),
    )


def exaone4(config: Config) -> Network:
    """Exaone4ForCausalLM: norms after each half, normalised queries and keys."""
    config = read(config, EXAONE4)
    shape = grouped(config, head_norm=Norm("norm", 0))
    pattern = windows(config, exaone_pattern(config))
    return dense(config, shape, swiglu(config), arrange=post_norm, windows=pattern)


def exaone_pattern(config: Config) -> Callable[[int], str]:
    """Which layers slide: a number, or letters such as `LLLG` in older configs."""
    letters = config.get("sliding_window_pattern")
    if window(config) is None:
        return every(1)
    if isinstance(letters, str) and letters and set(letters) <= {"L", "G"}:
        return lambda index: SLIDING if letters[index % len(letters)] == "L" else FULL
    return every(config.integer("sliding_window_pattern"))


FAMILIES = {
    "exaone4": exaone4,
    "exaone_moe": exaone_moe,
}
