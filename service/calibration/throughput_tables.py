"""Readers of the published throughput tables, one a source.

Every source counts differently, so each has its own reader that turns a row into seconds of one
optimizer step: iteration times and tokens per second as they are, TFLOP/s through the formula of
that source (column `tflops_kind`). Rows whose shape, layout or batch cannot be told are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from service.calibration.measured import (
    Job,
    Row,
    degrees_of,
    gpt_of,
    job_of,
    layout_of,
    megatron_flops,
    network,
    number,
    recomputation_of,
    seconds_of,
)
from service.calibration.throughput_tpu import tpu
from service.core.architecture.families import shapes
from service.core.architecture.network import Network
from service.core.parallelism import Kernels


def _foundry(row: Row) -> Job | None:
    """llm-foundry: MPT shapes under PyTorch FSDP with flash attention."""
    net = gpt_of(row, dropout=0.0)
    precision = "fp8-mixed" if "fp8" in row["precision"] else "bf16-mixed"
    kernels = Kernels(precision, "adamw", recomputation_of(row), "flash", "modules", "bf16")
    device = {"a100_40gb": "a100-sxm4-40gb", "a100_80gb": "a100-sxm4-80gb"}.get(
        row["hardware"], "h100-sxm"
    )
    layout = layout_of(row, {}, zero_stage=3.0)
    if net is None or layout is None:
        return None
    return job_of(
        row,
        "llm-foundry",
        net,
        kernels,
        device,
        layout,
        seconds_of(row, layout, float(row["seq_len"])),
    )


def _selene(row: Row) -> Job | None:
    """Megatron-LM on Selene: Narayanan et al. 2021, Korthikanti et al. 2022, MT-NLG."""
    degrees = degrees_of(row["parallelism"])
    zero = 3.0 if "ZeRO-3" in row["parallelism"] else 0.0
    sequence = 1.0 if "SP" in row["parallelism"].split() else 0.0
    interleave = _interleave(row, degrees.get("pp", 1.0))
    layout = layout_of(
        row, degrees, zero_stage=zero, sequence_parallel=sequence, interleave=interleave
    )
    net = gpt_of(row)
    if net is None or layout is None:
        return None
    seconds = number(row["step_time_s"])
    rate = number(row["tflops_per_gpu"])
    if seconds is None and rate is not None:
        seconds = megatron_flops(row, layout, 4.0) / (layout["devices"] * rate * 1e12)
    kernels = Kernels("fp16-mixed", recomputation=recomputation_of(row), attention="eager")
    source = {"K": "korthikanti-2022", "N": "narayanan-2021"}.get(row["source"][0], "mt-nlg")
    return job_of(row, source, net, kernels, "a100-sxm4-80gb", layout, seconds)


def _interleave(row: Row, pipeline: float) -> float:
    """Chunks a stage: Korthikanti et al. interleave 3 for 175B and 530B.

    Narayanan et al. interleave in their table 1 (section 5.1) and do not say how many: as few as
    divide the layers of a stage.
    """
    if row["source"].startswith("Kor"):
        return 3.0 if row["model"].split()[-1] in ("175B", "530B") else 1.0
    if "Table 1" in row["source"] and pipeline > 1:
        held = int(float(row["layers"]) // pipeline)
        return float(next((chunks for chunks in range(2, held + 1) if held % chunks == 0), 1))
    return 1.0


JEAN_ZAY = {"scale_out_bandwidth": 6.25e9}
"""Four 100 Gb/s Omni-Path links a node of eight (BigScience, train/tr11-176B-ml)."""
JEAN_ZAY_V100 = {"devices_per_node": 4}
"""BigScience, experiments/gpt2.md."""


def _jean_zay(row: Row) -> Job | None:
    """BigScience's trials on A100 before BLOOM; layers left out of the log follow from the size."""
    parameters, vocabulary = float(row["params"]), 250_000
    hidden, heads = int(row["d_model"]), int(row["heads"])
    layers = int(
        number(row["layers"]) or round((parameters - vocabulary * hidden) / (12.0 * hidden**2))
    )
    layout = layout_of(row, degrees_of(row["parallelism"]), zero_stage=1.0)
    if layout is None or layout["tensor"] * layout["pipeline"] > layout["devices"]:
        return None
    net = shapes.gpt(layers, hidden, heads, vocabulary=250_880, positions=0, dropout=0.0)
    seconds = number(row["step_time_s"])
    if seconds is None:
        flops = 8.0 * parameters * 2048.0 * layout["global_batch_size"]
        seconds = flops / (layout["devices"] * float(row["tflops_per_gpu"]) * 1e12)
    kernels = Kernels("bf16-mixed", recomputation="full", attention="eager")
    job = job_of(row, "bigscience-a100", net, kernels, "a100-sxm4-80gb", layout, seconds)
    return replace(job, site=JEAN_ZAY) if job else None


_V100_SHAPES = {"7.5B": (36, 4096), "18B": (40, 6144), "39B": (48, 8192), "52B": (64, 8192)}


def _jean_zay_v100(row: Row) -> Job | None:
    """BigScience's trials on V100; identical ones differed by 40 %, as their authors warn."""
    shape = _V100_SHAPES.get(row["model"].split()[-1])
    if shape is None or "Offload" in row["source"]:
        return None
    own = row["parallelism"].split("(")[0]
    degrees = {"tp": 4.0} | degrees_of(own)
    zero = 3.0 if "ZeRO" in row["source"] else 1.0 if "Deepspeed" in row["source"] else 0.0
    layout = layout_of(row, degrees, zero_stage=zero)
    net = shapes.gpt(shape[0], shape[1], shape[1] // 128, vocabulary=50304, positions=1024)
    kernels = Kernels("fp16-mixed", recomputation="full", attention="eager")
    job = job_of(
        row, "bigscience-v100", net, kernels, "v100-sxm2-32gb", layout, number(row["step_time_s"])
    )
    return replace(job, site=JEAN_ZAY_V100) if job else None


def _megatron_h100(row: Row) -> Job | None:
    """Megatron-LM's weak scaling on H100; its count takes attention in full."""
    layout = layout_of(row, degrees_of(row["parallelism"]), zero_stage=1.0, sequence_parallel=1.0)
    net = gpt_of(row, dropout=0.0, tied=False)
    if net is None or layout is None:
        return None
    flops = megatron_flops(row, layout, 3.0)
    seconds = flops / (layout["devices"] * float(row["tflops_per_gpu"]) * 1e12)
    return job_of(row, "megatron-h100", net, Kernels(), "h100-sxm", layout, seconds)


def _internevo(row: Row) -> Job | None:
    """InternEvo: InternLM-7B with ZeRO-1 over a part of the ranks."""
    degrees = degrees_of(row["parallelism"])
    group = max(degrees.get("zero1", degrees.get("zero-1 group", 8.0)), 0.0)
    layout = layout_of(row, degrees, zero_stage=1.0, shard_group=group)
    net = shapes.llama(32, 4096, 32, intermediate=11008, vocabulary=103168)
    if layout is None:
        return None
    kernels = Kernels(
        "bf16-mixed", "adamw", recomputation_of(row), "flash", "modules", gradient_precision="bf16"
    )
    seconds = seconds_of(row, layout, float(row["seq_len"]))
    return job_of(row, "internevo", net, kernels, "a100-sxm4-80gb", layout, seconds)


_BRIDGE_MODELS = {
    "LLAMA3_8B": "llama-3-8b",
    "LLAMA3_70B": "llama-3-70b",
    "LLAMA3.1_405B": "llama-3.1-405b",
    "Qwen3_30B_a3B": "qwen3-30b-a3b",
    "Qwen3_235B_a22B": "qwen3-235b-a22b",
    "DeepSeekV3": "deepseek-v3",
    "GPT OSS 120B": "gpt-oss-120b",
    "Kimi_K2": "kimi-k2",
}


def _bridge(row: Row) -> Job | None:
    """Megatron-Bridge: NVIDIA's own recipes, CUDA graphs, forced balance of the experts."""
    name = _BRIDGE_MODELS.get(row["model"].split(" (")[0])
    lora = "LoRA" in row["notes"]
    if name is None or "NVFP4" in row["precision"] or lora:
        return None
    degrees = degrees_of(row["parallelism"])
    zero = 3.0 if degrees.get("fsdp", 0.0) > 1 else 1.0
    layout = layout_of(row, degrees, zero_stage=zero, sequence_parallel=1.0)
    if layout is None:
        return None
    precision = "bf16-mixed" if row["precision"] == "BF16" else "fp8-mixed"
    device = row["hardware"].removeprefix("DGX-").lower().replace("h100", "h100-sxm")
    seconds = seconds_of(row, layout, float(row["seq_len"]))
    return job_of(
        row, "megatron-bridge", network(name), Kernels(precision), device, layout, seconds
    )


def _long_sequences(row: Row) -> Job | None:
    """NeMo's long-context table; its count takes attention in full."""
    name = "llama-3-8b" if "3" in row["model"] else "llama-2-7b"
    degrees = degrees_of(row["parallelism"])
    # The table's degrees and its number of devices disagree on B200; the degrees fit the batch.
    devices = degrees["tp"] * degrees["cp"] * degrees["dp"]
    layout = layout_of(row, degrees, devices=devices, zero_stage=1.0, sequence_parallel=1.0)
    if layout is None:
        return None
    length, batch = float(row["seq_len"]), layout["global_batch_size"]
    layers, hidden, width, vocabulary = (
        float(row[key]) for key in ("layers", "d_model", "d_ff", "vocab")
    )
    groups = float(row["kv_heads"]) / float(row["heads"])
    layer = 12.0 + 12.0 * groups + 18.0 * width / hidden + 12.0 * length / hidden
    flops = batch * length * hidden * (layers * hidden * layer + 6.0 * vocabulary)
    seconds = flops / (layout["devices"] * float(row["tflops_per_gpu"]) * 1e12)
    device = "b200" if row["hardware"].startswith("B200") else "h100-sxm"
    return job_of(row, "nemo-long", network(name), Kernels("fp8-mixed"), device, layout, seconds)


def _titan(row: Row) -> Job | None:
    """torchtitan: FSDP2 with torch.compile."""
    degrees = degrees_of(row["parallelism"])
    layout = layout_of(row, degrees, zero_stage=3.0, sequence_parallel=1.0, micro_batch_size=1.0)
    name = {"8B": "llama-3.1-8b", "70B": "llama-3.1-70b"}.get(
        row["model"].split("-")[-1], "llama-3.1-405b"
    )
    if layout is None:
        return None
    if layout["pipeline"] == 1:
        layout["micro_batch_size"] = float(row["micro_batch"])
    if "interleaved" in row["notes"]:
        layout["interleave"] = 2.0
    precision = "fp8-mixed" if "float8" in row["precision"] else "bf16-mixed"
    kernels = Kernels(precision, "adamw", recomputation_of(row), "flash", "modules")
    device = "h200-sxm" if "H200" in row["hardware"] else "h100-sxm"
    seconds = seconds_of(row, layout, float(row["seq_len"]))
    return job_of(row, "torchtitan", network(name), kernels, device, layout, seconds)


def _bert(row: Row) -> Job | None:
    """NVIDIA's BERT-large: LAMB, unfused attention; rows that name their batch."""
    layout = layout_of(row, degrees_of(row["parallelism"]))
    if layout is None or not row["micro_batch"]:
        return None
    net = shapes.gpt(24, 1024, 16, vocabulary=30528, positions=512, causal=False)
    precision = "fp32" if row["precision"] in ("tf32", "fp32") else "fp16-mixed"
    kernels = Kernels(precision, attention="eager")
    device = "v100-sxm2-32gb" if "V100" in row["hardware"] else "a100-sxm4-80gb"
    seconds = layout["global_batch_size"] / float(row["samples_per_sec_total"])
    return job_of(row, "bert", net, kernels, device, layout, seconds)


def _frontier(row: Row) -> Job | None:
    """Runs of H100 clusters that their papers describe (Llama 3, Nemotron-4)."""
    shape = {
        "Llama-3.1-405B": (126, 16384, 128, 53248, 128256),
        "Nemotron-4-340B": (96, 18432, 96, 73728, 256000),
        "Nemotron-4-15B": (32, 6144, 48, 24576, 256000),
    }[row["model"]]
    degrees = degrees_of(row["parallelism"])
    layout = layout_of(row, degrees, zero_stage=1.0, sequence_parallel=1.0)
    if layout is None:
        return None
    llama = row["model"].startswith("Llama")
    build = shapes.llama if llama else shapes.gpt
    options: dict[str, Any] = {} if llama else {"positions": 0, "dropout": 0.0, "tied": False}
    net = build(
        *shape[:3], key_value_heads=8, intermediate=shape[3], vocabulary=shape[4], **options
    )
    if layout["pipeline"] > 1:
        layout["interleave"] = max(1.0, net.layers // layout["pipeline"])
    seconds = number(row["step_time_s"])
    if seconds is None:
        utilization = float(row["mfu"]) / 100.0
        flops = 6.0 * _matrix_parameters(net) * layout["global_batch_size"] * float(row["seq_len"])
        flops += (
            6.0 * net.layers * shape[1] * layout["global_batch_size"] * float(row["seq_len"]) ** 2
        )
        seconds = flops / (layout["devices"] * utilization * 989e12)
    source = "llama-3-paper" if llama else "nemotron-4"
    return job_of(row, source, net, Kernels(), "h100-sxm", layout, seconds)


def _matrix_parameters(net: Network) -> float:
    return sum(leaf.operator.flops() * leaf.uses for leaf in net.leaves()) / 2.0


def _small(row: Row) -> Job | None:
    """TinyLlama and llm.c: single nodes or two, data parallel."""
    if row["model"].startswith("Tiny"):
        net = shapes.llama(22, 2048, 32, key_value_heads=4, intermediate=5632, vocabulary=32000)
        layout = layout_of(row, {}, zero_stage=3.0, micro_batch_size=8.0)
        device = "a100-sxm4-40gb"
    else:
        layers, hidden = (12, 768) if "124M" in row["model"] else (48, 1600)
        net = shapes.gpt(
            layers, hidden, hidden // 64, vocabulary=50304, positions=1024, dropout=0.0
        )
        batch = 64.0 if "124M" in row["model"] else 16.0
        layout = layout_of(row, {}, zero_stage=1.0, micro_batch_size=batch)
        device = "a100-sxm4-80gb" if "A100" in row["hardware"] else "h100-sxm"
    if layout is None:
        return None
    kernels = Kernels("bf16-mixed", gradient_precision="bf16")
    seconds = seconds_of(row, layout, float(row["seq_len"]))
    return job_of(row, "single-node", net, kernels, device, layout, seconds)


READERS: Mapping[str, Callable[[Row], Job | None]] = {
    "llm-foundry": _foundry,
    "Narayanan|Korthikanti et al. 2022 .arXiv|MT-NLG": _selene,
    "tr11-176B": _jean_zay,
    "experiments/gpt2.md": _jean_zay_v100,
    "Megatron-LM README": _megatron_h100,
    "InternEvo": _internevo,
    "Megatron-Bridge": _bridge,
    "performance_long_sequence": _long_sequences,
    "torchtitan": _titan,
    "LanguageModeling/BERT": _bert,
    "Llama 3 paper|Nemotron-4": _frontier,
    "TinyLlama|llm.c": _small,
    "AI-Hypercomputer": tpu,
}
