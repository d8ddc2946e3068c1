"""Measured training speeds, each as a job that the estimator can be asked about.

Every source counts differently, so each has its own reader that turns a row into seconds of one
optimizer step: iteration times and tokens per second as they are, TFLOP/s through the formula of
that source (column `tflops_kind`). Rows whose shape, layout or batch cannot be told are left out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from service.core import memory
from service.core.architecture.families import registry, shapes
from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.parallelism import Kernels, Layout

DATA = Path(__file__).parent / "data"
SEED = Path(__file__).parents[1] / "catalog" / "seed"

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Job:
    """A measured job; each row is its own, even where two say the same."""

    source: str
    case: str
    network: Network
    kernels: Kernels
    layout: Mapping[str, float]
    """Fields of Layout."""
    accelerator: str
    sequence_length: float
    step_seconds: float
    """As measured."""


def jobs() -> tuple[Job, ...]:
    """Every row that can be told, of every source."""
    return _jobs()


@cache
def _jobs() -> tuple[Job, ...]:
    found = [*_vtrain("vtrain_single_node", "none"), *_vtrain("vtrain_multi_node", "full")]
    found += _simumax()
    for row in _read("throughput_rows"):
        for pattern, reader in READERS.items():
            if re.search(pattern, row["source"]) and row["checked"].startswith("yes"):
                job = reader(row)
                if job is not None:
                    found.append(job)
                break
    return tuple(found)


def _read(name: str) -> Iterator[dict[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@cache
def _shipped(kind: str) -> Mapping[str, Any]:
    items = json.loads((SEED / f"{kind}.json").read_text("utf-8"))
    return {name: item for item in items for name in (item["name"], *item.get("aliases", ()))}


@cache
def accelerator(name: str) -> Accelerator:
    """An accelerator that the catalog ships."""
    facts = _shipped("accelerators")[name]
    embodied = facts["embodied_kgco2e"]
    return Accelerator(
        facts["name"],
        facts["vendor"],
        facts["release_year"],
        facts["memory_bytes"],
        facts["memory_bandwidth_bytes_per_second"],
        facts["peak_flops"],
        facts["scale_up_bandwidth_bytes_per_second"],
        facts["scale_out_bandwidth_bytes_per_second"],
        facts["devices_per_node"],
        facts["tdp_watts"],
        facts["idle_watts"],
        (embodied["low"], embodied["central"], embodied["high"]),
    )


@cache
def network(name: str, **changes: int) -> Network:
    """A model that the catalog ships, with some fields of its configuration changed."""
    config = _shipped("models")[name]["architecture"]["config"]
    return registry.build({**config, **changes})


# --- vTrain (MICRO 2024): Megatron-DeepSpeed, GPT shapes, fp16, A100-80GB SXM -----------------


def _vtrain(name: str, recomputation: str) -> Iterator[Job]:
    kernels = Kernels("fp16-mixed", recomputation=recomputation, attention="eager")
    for row in _read(name):
        tensor = float(row["tensor parallelism"])
        # GPT-2's vocabulary is padded to a multiple of 128 for each tensor rank.
        shape = shapes.gpt(
            int(row["# layers"]),
            int(row["hidden size"]),
            int(row["attention heads"]),
            vocabulary=50257 if tensor == 1 and recomputation == "none" else 51200,
            positions=int(row["sequence length"]),
        )
        layout = {
            "devices": float(row["# GPUs"]),
            "tensor": tensor,
            "pipeline": float(row["pipeline parallelism"]),
            "micro_batch_size": float(row["micro batch"]),
            "global_batch_size": float(row["global batch"]),
        }
        seconds = float(row["iteration time (ms)"]) / 1e3
        yield Job(
            name, _case(row, shape), shape, kernels, layout, "a100-sxm4-80gb",
            float(row["sequence length"]), seconds,
        )  # fmt: skip


def _case(row: Mapping[str, str], shape: Network) -> str:
    values = list(row.values())
    return f"{shape.name or shape.model_type} " + "/".join(values[-11:-1])


# --- SimuMax: 8 B200, bf16, distributed optimizer, cut shapes ---------------------------------


def _simumax() -> Iterator[Job]:
    kernels = Kernels("bf16-mixed")
    names = {
        "llama3_70b": "llama-3-70b",
        "llama3_405b": "llama-3.1-405b",
        "deepseekv2": "deepseek-v2",
        "deepseekv3": "deepseek-v3",
    }
    for row in _read("simumax_b200"):
        changes = {"num_hidden_layers": int(row["layers"])}
        if row["model"].startswith("deepseek"):
            changes["first_k_dense_replace"] = 1
        data = float(row["data"])
        layout = {
            "devices": float(row["devices"]),
            "zero_stage": 1.0,
            "micro_batch_size": float(row["micro_batch_size"]),
            "global_batch_size": float(row["micro_batches"])
            * float(row["micro_batch_size"])
            * data,
            "sequence_parallel": float(float(row["tensor"]) > 1),
        } | {name: float(row[name]) for name in ("tensor", "pipeline", "context", "expert")}
        yield Job(
            "simumax_b200", row["case"], network(names[row["model"]], **changes), kernels, layout,
            "b200", float(row["sequence_length"]), float(row["step_ms"]) / 1e3,
        )  # fmt: skip


# --- throughput_rows --------------------------------------------------------------------------


def _number(text: str) -> float | None:
    return float(text) if text not in ("", "N/A") else None


def _degrees(text: str) -> dict[str, float]:
    """The degrees that a row's `parallelism` names, by the field's short name."""
    found = re.findall(r"(TP|PP|DP|CP|EP|VP|FSDP|tp|zero1|ZeRO-1 group)=(-?\d+)", text)
    return {name.lower(): float(value) for name, value in found}


def _layout(row: Row, degrees: Mapping[str, float], **changes: float) -> dict[str, float] | None:
    devices = _number(row["n_gpus"])
    if devices is None:
        return None
    tensor = degrees.get("tp", 1.0)
    layout = {
        "devices": devices,
        "tensor": tensor,
        "pipeline": degrees.get("pp", 1.0),
        "context": degrees.get("cp", 1.0),
        "expert": degrees.get("ep", 1.0),
        "interleave": degrees.get("vp", 1.0),
        "micro_batch_size": _number(row["micro_batch"]) or 1.0,
        "global_batch_size": _number(row["global_batch"]) or 0.0,
    } | changes
    data = devices / (tensor * layout["pipeline"] * layout["context"])
    if not layout["global_batch_size"]:
        layout["global_batch_size"] = (
            (_number(row["grad_accum"]) or 1.0) * layout["micro_batch_size"] * data
        )
    return layout if data >= 1 and data == int(data) else None


def _recomputation(row: Row) -> str:
    text = row["activation_ckpt"]
    if "full" in text:
        return "full"
    return "selective" if "selective" in text else "none"


def _seconds(row: Row, layout: Mapping[str, float], sequence_length: float) -> float | None:
    """Step time as printed, or from tokens per second."""
    printed, tokens = _number(row["step_time_s"]), _number(row["tokens_per_sec_per_gpu"])
    if printed is not None:
        return printed
    if tokens is None:
        return None
    return layout["global_batch_size"] * sequence_length / (tokens * layout["devices"])


def _job(
    row: Row,
    source: str,
    net: Network,
    kernels: Kernels,
    device: str,
    layout: Mapping[str, float] | None,
    seconds: float | None,
) -> Job | None:
    if layout is None or not seconds:
        return None
    case = " ".join((row["model"], row["n_gpus"], row["parallelism"], row["seq_len"]))
    length = float(row["seq_len"] or 0)
    return Job(source, case, net, kernels, layout, device, length, seconds)


def _gpt(row: Row, **changes: Any) -> Network | None:
    layers, hidden, heads = (_number(row[name]) for name in ("layers", "d_model", "heads"))
    if layers is None or hidden is None:
        return None
    options = {"vocabulary": int(row["vocab"] or 51200), "positions": int(row["seq_len"])} | changes
    width = _number(row["d_ff"])
    return shapes.gpt(
        int(layers), int(hidden), int(heads or hidden // 128),
        intermediate=int(width) if width else None, **options,
    )  # fmt: skip


def _foundry(row: Row) -> Job | None:
    """llm-foundry: MPT shapes under PyTorch FSDP with flash attention."""
    net = _gpt(row, dropout=0.0)
    precision = "fp8-mixed" if "fp8" in row["precision"] else "bf16-mixed"
    kernels = Kernels(precision, "adamw", _recomputation(row), "flash", "modules", "bf16")
    device = {"a100_40gb": "a100-sxm4-40gb", "a100_80gb": "a100-sxm4-80gb"}.get(
        row["hardware"], "h100-sxm"
    )
    layout = _layout(row, {}, zero_stage=3.0)
    if net is None or layout is None:
        return None
    return _job(
        row,
        "llm-foundry",
        net,
        kernels,
        device,
        layout,
        _seconds(row, layout, float(row["seq_len"])),
    )


def _megatron_flops(row: Row, layout: Mapping[str, float], passes: float) -> float:
    """FLOPs of a step by Narayanan et al. 2021, equation 3: full attention, `passes` of 24."""
    batch, length = layout["global_batch_size"], float(row["seq_len"])
    layers, hidden, vocabulary = (float(row[name]) for name in ("layers", "d_model", "vocab"))
    layer = 24.0 * passes * batch * length * layers * hidden**2 * (1.0 + length / (6.0 * hidden))
    return layer + 6.0 * batch * length * hidden * vocabulary


def _selene(row: Row) -> Job | None:
    """Megatron-LM on Selene: Narayanan et al. 2021, Korthikanti et al. 2022, MT-NLG."""
    degrees = _degrees(row["parallelism"])
    zero = 3.0 if "ZeRO-3" in row["parallelism"] else 0.0
    sequence = 1.0 if "SP" in row["parallelism"].split() else 0.0
    interleave = _interleave(row)
    layout = _layout(
        row, degrees, zero_stage=zero, sequence_parallel=sequence, interleave=interleave
    )
    net = _gpt(row)
    if net is None or layout is None:
        return None
    seconds = _number(row["step_time_s"])
    rate = _number(row["tflops_per_gpu"])
    if seconds is None and rate is not None:
        seconds = _megatron_flops(row, layout, 4.0) / (layout["devices"] * rate * 1e12)
    kernels = Kernels("fp16-mixed", recomputation=_recomputation(row), attention="eager")
    source = {"K": "korthikanti-2022", "N": "narayanan-2021"}.get(row["source"][0], "mt-nlg")
    return _job(row, source, net, kernels, "a100-sxm4-80gb", layout, seconds)


def _interleave(row: Row) -> float:
    """Chunks a stage: Korthikanti et al. interleave 3 for 175B and 530B."""
    if row["source"].startswith("Kor"):
        return 3.0 if row["model"].split()[-1] in ("175B", "530B") else 1.0
    return 1.0


def _jean_zay(row: Row) -> Job | None:
    """BigScience's trials on A100 before BLOOM; shapes left out of the log follow from the size."""
    parameters, vocabulary = float(row["params"]), 250_000
    hidden = int(_number(row["d_model"]) or 14336)
    layers = int(
        _number(row["layers"]) or round((parameters - vocabulary * hidden) / (12.0 * hidden**2))
    )
    layout = _layout(row, _degrees(row["parallelism"]), zero_stage=1.0)
    if layout is None or layout["tensor"] * layout["pipeline"] > layout["devices"]:
        return None
    net = shapes.gpt(layers, hidden, hidden // 128, vocabulary=250_880, positions=0, dropout=0.0)
    seconds = _number(row["step_time_s"])
    if seconds is None:
        flops = 8.0 * parameters * 2048.0 * layout["global_batch_size"]
        seconds = flops / (layout["devices"] * float(row["tflops_per_gpu"]) * 1e12)
    kernels = Kernels("bf16-mixed", recomputation="full", attention="eager")
    return _job(row, "bigscience-a100", net, kernels, "a100-sxm4-80gb", layout, seconds)


_V100_SHAPES = {"7.5B": (36, 4096), "18B": (40, 6144), "39B": (48, 8192), "52B": (64, 8192)}


def _jean_zay_v100(row: Row) -> Job | None:
    """BigScience's trials on V100 (four to a node)."""
    shape = _V100_SHAPES.get(row["model"].split()[-1])
    if shape is None or "Offload" in row["source"]:
        return None
    own = row["parallelism"].split("(")[0]
    degrees = {"tp": 4.0} | _degrees(own)
    zero = 2.0 if "ZeRO" in row["source"] else 1.0 if "Deepspeed" in row["source"] else 0.0
    layout = _layout(row, degrees, zero_stage=zero)
    net = shapes.gpt(shape[0], shape[1], shape[1] // 128, vocabulary=50304, positions=1024)
    kernels = Kernels("fp16-mixed", recomputation="full", attention="eager")
    return _job(
        row, "bigscience-v100", net, kernels, "v100-sxm2-32gb", layout, _number(row["step_time_s"])
    )


def _megatron_h100(row: Row) -> Job | None:
    """Megatron-LM's weak scaling on H100; its count takes attention in full."""
    layout = _layout(row, _degrees(row["parallelism"]), zero_stage=1.0, sequence_parallel=1.0)
    net = _gpt(row, dropout=0.0, tied=False)
    if net is None or layout is None:
        return None
    flops = _megatron_flops(row, layout, 3.0)
    seconds = flops / (layout["devices"] * float(row["tflops_per_gpu"]) * 1e12)
    return _job(row, "megatron-h100", net, Kernels(), "h100-sxm", layout, seconds)


def _internevo(row: Row) -> Job | None:
    """InternEvo: InternLM-7B with ZeRO-1 over a part of the ranks."""
    degrees = _degrees(row["parallelism"])
    group = max(degrees.get("zero1", degrees.get("zero-1 group", 8.0)), 0.0)
    layout = _layout(row, degrees, zero_stage=1.0, shard_group=group)
    net = shapes.llama(32, 4096, 32, intermediate=11008, vocabulary=103168)
    if layout is None:
        return None
    kernels = Kernels("bf16-mixed", recomputation=_recomputation(row), gradient_precision="bf16")
    seconds = _seconds(row, layout, float(row["seq_len"]))
    return _job(row, "internevo", net, kernels, "a100-sxm4-80gb", layout, seconds)


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
    degrees = _degrees(row["parallelism"])
    zero = 3.0 if degrees.get("fsdp", 0.0) > 1 else 1.0
    layout = _layout(row, degrees, zero_stage=zero, sequence_parallel=1.0)
    if layout is None:
        return None
    precision = "bf16-mixed" if row["precision"] == "BF16" else "fp8-mixed"
    device = row["hardware"].removeprefix("DGX-").lower().replace("h100", "h100-sxm")
    seconds = _seconds(row, layout, float(row["seq_len"]))
    return _job(row, "megatron-bridge", network(name), Kernels(precision), device, layout, seconds)


def _long_sequences(row: Row) -> Job | None:
    """NeMo's long-context table; its count takes attention in full."""
    name = "llama-3-8b" if "3" in row["model"] else "llama-2-7b"
    degrees = _degrees(row["parallelism"])
    # The table's degrees and its number of devices disagree on B200; the degrees fit the batch.
    devices = degrees["tp"] * degrees["cp"] * degrees["dp"]
    layout = _layout(row, degrees, devices=devices, zero_stage=1.0, sequence_parallel=1.0)
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
    return _job(row, "nemo-long", network(name), Kernels("fp8-mixed"), device, layout, seconds)


def _titan(row: Row) -> Job | None:
    """torchtitan: FSDP2 with torch.compile."""
    degrees = _degrees(row["parallelism"])
    layout = _layout(row, degrees, zero_stage=3.0, sequence_parallel=1.0, micro_batch_size=1.0)
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
    kernels = Kernels(precision, recomputation=_recomputation(row), gradient_precision="fp32")
    device = "h200-sxm" if "H200" in row["hardware"] else "h100-sxm"
    seconds = _seconds(row, layout, float(row["seq_len"]))
    return _job(row, "torchtitan", network(name), kernels, device, layout, seconds)


def _bert(row: Row) -> Job | None:
    """NVIDIA's BERT-large: LAMB, unfused attention; rows that name their batch."""
    layout = _layout(row, _degrees(row["parallelism"]))
    if layout is None or not row["micro_batch"]:
        return None
    net = shapes.gpt(24, 1024, 16, vocabulary=30528, positions=512, causal=False)
    precision = "fp32" if row["precision"] in ("tf32", "fp32") else "fp16-mixed"
    kernels = Kernels(precision, attention="eager")
    device = "v100-sxm2-32gb" if "V100" in row["hardware"] else "a100-sxm4-80gb"
    seconds = layout["global_batch_size"] / float(row["samples_per_sec_total"])
    return _job(row, "bert", net, kernels, device, layout, seconds)


def _frontier(row: Row) -> Job | None:
    """Runs of H100 clusters that their papers describe (Llama 3, Nemotron-4)."""
    shape = {
        "Llama-3.1-405B": (126, 16384, 128, 53248, 128256),
        "Nemotron-4-340B": (96, 18432, 96, 73728, 256000),
        "Nemotron-4-15B": (32, 6144, 48, 24576, 256000),
    }[row["model"]]
    degrees = _degrees(row["parallelism"])
    layout = _layout(row, degrees, zero_stage=1.0, sequence_parallel=1.0)
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
    seconds = _number(row["step_time_s"])
    if seconds is None:
        utilization = float(row["mfu"]) / 100.0
        flops = 6.0 * _matrix_parameters(net) * layout["global_batch_size"] * float(row["seq_len"])
        flops += (
            6.0 * net.layers * shape[1] * layout["global_batch_size"] * float(row["seq_len"]) ** 2
        )
        seconds = flops / (layout["devices"] * utilization * 989e12)
    source = "llama-3-paper" if llama else "nemotron-4"
    return _job(row, source, net, Kernels(), "h100-sxm", layout, seconds)


def _matrix_parameters(net: Network) -> float:
    return sum(leaf.operator.flops() * leaf.uses for leaf in net.leaves()) / 2.0


def _small(row: Row) -> Job | None:
    """TinyLlama and llm.c: single nodes or two, data parallel."""
    if row["model"].startswith("Tiny"):
        net = shapes.llama(22, 2048, 32, key_value_heads=4, intermediate=5632, vocabulary=32000)
        layout = _layout(row, {}, zero_stage=3.0, micro_batch_size=8.0)
        device = "a100-sxm4-40gb"
    else:
        layers, hidden = (12, 768) if "124M" in row["model"] else (48, 1600)
        net = shapes.gpt(
            layers, hidden, hidden // 64, vocabulary=50304, positions=1024, dropout=0.0
        )
        batch = 64.0 if "124M" in row["model"] else 16.0
        layout = _layout(row, {}, zero_stage=1.0, micro_batch_size=batch)
        device = "a100-sxm4-80gb" if "A100" in row["hardware"] else "h100-sxm"
    if layout is None:
        return None
    kernels = Kernels("bf16-mixed", gradient_precision="bf16")
    seconds = _seconds(row, layout, float(row["seq_len"]))
    return _job(row, "single-node", net, kernels, device, layout, seconds)


_TPU_MODELS = {
    "llama-2-70b": ("llama-2-70b", 4096),
    "llama3.1-8b": ("llama-3.1-8b", 8192),
    "llama3.1-70b": ("llama-3.1-70b", 8192),
    "llama3.1-405b": ("llama-3.1-405b", 8192),
    "mistral-7b": ("mistral-7b", 8192),
    "mixtral-8x7b": ("mixtral-8x7b", 4096),
    "mixtral-8x22b": ("mixtral-8x22b", 4096),
    "deepseek3-671b": ("deepseek-v3", 4096),
    "deepseek-v3": ("deepseek-v3", 4096),
    "gpt-oss-120b": ("gpt-oss-120b", 8192),
    "gpt3-175b": ("gpt-3-175b", 2048),
}
_TPUS = {"TPU v6e (Trillium)": "tpu-v6e", "TPU v5p": "tpu-v5p", "TPU7x Ironwood": "tpu-v7"}


def _tpu(row: Row) -> Job | None:
    """MaxText on TPUs: weights sharded over all chips, recomputed where memory asks for it.

    Lengths that a row leaves out are those of the published recipe of its model.
    """
    name = row["model"].lower().removesuffix("-maxtext").replace("llama-3.1", "llama3.1")
    known, tokens = _TPU_MODELS.get(name), _number(row["tokens_per_sec_per_gpu"])
    if known is None or tokens is None or row["hardware"] not in _TPUS:
        return None
    net, length = network(known[0]), float(row["seq_len"] or known[1])
    devices, device = float(row["n_gpus"]), _TPUS[row["hardware"]]
    seconds = _number(row["step_time_s"])
    batch = _number(row["global_batch"]) or (
        round(tokens * devices * seconds / length) if seconds else 4.0 * devices
    )
    layout = {
        "devices": devices,
        "zero_stage": 3.0,
        "global_batch_size": batch,
        "micro_batch_size": max(1.0, batch // devices),
        "context": max(1.0, devices // batch),
    }
    kernels = Kernels("fp8-mixed" if "fp8" in row["precision"] else "bf16-mixed")
    kernels = replace(kernels, recomputation=_lightest(net, kernels, layout, device, length))
    measured = batch * length / (tokens * devices)
    job = _job(row, "maxtext-tpu", net, kernels, device, layout, measured)
    return replace(job, sequence_length=length) if job else None


def _lightest(
    net: Network, kernels: Kernels, layout: Mapping[str, float], device: str, length: float
) -> str:
    """The least recomputation with which the job fits, by the expected peak."""
    for recomputation in ("none", "selective"):
        named = replace(kernels, recomputation=recomputation)
        parts, _ = memory.worst_stage(net, named, Layout(**layout), length)
        if parts.peak <= accelerator(device).memory_bytes:
            return recomputation
    return "full"


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
    "AI-Hypercomputer": _tpu,
}
