"""CPU seconds of llm-analysis for one training estimate, and for a row of a layout sweep.

Runs by itself in the environment where that package is installed; prints one JSON object.
"""

import json
import logging
import time

from llm_analysis.analysis import ActivationRecomputation, DSZeRO, LLMAnalysis
from llm_analysis.config import (
    ModelConfig,
    ParallelismConfig,
    get_dtype_config_by_name,
    get_gpu_config_by_name,
)

logging.disable(logging.CRITICAL)
MODEL = ModelConfig(
    name="llama-3.1-8b",
    num_layers=32,
    n_head=32,
    hidden_dim=4096,
    vocab_size=128256,
    max_seq_len=8192,
    num_key_value_heads=8,
    ffn_embed_dim=14336,
    expansion_ratio=3.5,
    model_type="llama",
)
GPU = get_gpu_config_by_name("h100-sxm-80gb")
FORMAT = get_dtype_config_by_name("w16a16e16")
DEVICES = 64
LAYOUTS = [(tensor, pipeline) for tensor in (1, 2, 4, 8) for pipeline in (1, 2, 4, 8)]


def estimated(tensor: int, pipeline: int) -> None:
    """One training estimate."""
    data = DEVICES // (tensor * pipeline)
    layout = ParallelismConfig(tp_size=tensor, pp_size=pipeline, dp_size=data, sp_size=tensor)
    LLMAnalysis(
        MODEL, GPU, FORMAT, layout, flops_efficiency=0.5, hbm_memory_efficiency=0.8
    ).training(
        batch_size_per_gpu=1,
        global_batch_size=512,
        seq_len=8192,
        total_num_tokens=10**12,
        activation_recomputation=ActivationRecomputation.NONE,
        ds_zero=DSZeRO.STAGE_1,
        mlp_gated_linear_units=True,
    )


def each(layouts: list[tuple[int, int]], rounds: int) -> float:
    """CPU seconds an estimate."""
    begun = time.process_time()
    for _ in range(rounds):
        for layout in layouts:
            estimated(*layout)
    return (time.process_time() - begun) / rounds / len(layouts)


each(LAYOUTS, 1)
print(json.dumps({"estimate": each([(4, 1)], 300), "row": each(LAYOUTS, 30)}))
