"""Granite's dense decoders: granite (arXiv 2405.04324) and granite_swa.

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.dense import biased, dense, swiglu, windows
from service.core.architecture.families.llama import LLAMA, llama
from service.core.architecture.families.trunk import FULL, SLIDING, read
from service.core.architecture.network import Network

GRANITE = LLAMA | {
    "vocab_size": 100352,
    "hidden_size": 2560,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 20,
    "num_key_value_heads": 4,
    "sliding_window": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}


def granite_swa(config: Config) -> Network:
    """GraniteSWAForCausalLM: one full layer to three sliding ones, attention sinks."""
    config = read(config, GRANITE)
    pattern = windows(config, lambda index: SLIDING if index % 4 else FULL)
    shape = biased(config, sinks=True)
    return dense(config, shape, swiglu(config, "mlp_bias"), windows=pattern)


FAMILIES = {
    "granite": llama,
    "granite_swa": granite_swa,
}
