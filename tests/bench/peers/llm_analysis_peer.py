"""CPU seconds of llm-analysis for one training estimate, and for a row of a layout sweep.

An estimate is timed twice: as it comes, through the entry point that its documentation shows, whose
answer is the summary that it logs, and with its formulas called directly and all logging off. Runs
by itself in the environment where that package is installed; prints one JSON object.
"""

import json
import logging
import time
from collections.abc import Callable

from llm_analysis.analysis import ActivationRecomputation, DSZeRO, LLMAnalysis, train
from llm_analysis.config import (
    ModelConfig,
    ParallelismConfig,
    get_dtype_config_by_name,
    get_gpu_config_by_name,
    model_configs,
)

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
model_configs[MODEL.name] = MODEL
GPU = get_gpu_config_by_name("h100-sxm-80gb")
FORMAT = get_dtype_config_by_name("w16a16e16")
DEVICES = 64
LAYOUTS = [(tensor, pipeline) for tensor in (1, 2, 4, 8) for pipeline in (1, 2, 4, 8)]


def as_it_comes() -> None:
    """One training estimate, its summary logged."""
    train(
        model_name=MODEL.name,
        gpu_name="h100-sxm-80gb",
        tp_size=4,
        total_num_gpus=DEVICES,
        batch_size_per_gpu=1,
        global_batch_size=512,
        seq_len=8192,
        total_num_tokens=10**12,
        ds_zero=1,
        flops_efficiency=0.5,
        hbm_memory_efficiency=0.8,
        mlp_gated_linear_units=True,
    )


def estimated(tensor: int, pipeline: int) -> None:
    """The same from its formulas, by layout."""
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


def each(work: Callable[[], None], times: int) -> float:
    """CPU seconds of the work, once."""
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


def sweep() -> None:
    """Every layout once."""
    for layout in LAYOUTS:
        estimated(*layout)


logged = each(as_it_comes, 300)
logging.disable(logging.CRITICAL)
muted, rows = each(lambda: estimated(4, 1), 300), each(sweep, 30)
print(json.dumps({"estimate": logged, "muted": muted, "row": rows / len(LAYOUTS)}))
