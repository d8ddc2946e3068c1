"""Measured memory, each row as a job that the estimator can be asked about."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from service.calibration.throughput_rows import network
from service.core import finetuning
from service.core.architecture.families import registry, shapes
from service.core.architecture.families.config import ConfigError
from service.core.architecture.network import Network
from service.core.hardware import GIB
from service.core.parallelism import Kernels, Layout

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Job:
    """A measured peak and the job that it belongs to."""

    source: str
    case: str
    network: Network
    kernels: Kernels
    layout: Layout
    sequence_length: float
    observed_bytes: float
    measure: str
    """`allocated` (tensors), `reserved` (with what the allocator holds back), `device` (all)."""
    evidence: str
    """The class of intervals that the job belongs to."""
    group: str = ""
    """Rows of one group are set aside together."""
    family: str = ""
    accelerator: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)


def jobs() -> tuple[Job, ...]:
    """Every row that can be told, of every source."""
    return (*traced(), *_b200(), *_finetuning(), *_jean_zay())


# --- traced on the real implementations ---------------------------------------------------------

_PRECISIONS = {"autocast": "bf16-autocast"}
_OPTIMIZERS = {"adam": "adamw", "sgdm": "sgd-momentum"}


@cache
def traced() -> tuple[Job, ...]:
    """One training step of a transformers class, storage by storage."""
    document = json.loads((DATA / "memory_traced.json").read_text("utf-8"))
    found = (_traced(row, document["configs"][row["settings"]["cfg"]]) for row in document["rows"])
    return tuple(job for job in found if job is not None)


def _traced(row: Mapping[str, Any], config: Mapping[str, Any]) -> Job | None:
    settings = row["settings"]
    try:
        model = registry.build({**config, **settings.get("over", {})})
    except ConfigError:
        return None
    if lora := settings.get("lora"):
        model = finetuning.adapted(
            model,
            finetuning.Adapters(lora["r"], tuple(lora["target_modules"]), lora["lora_dropout"]),
        )
    optimizer = settings["opt"].split(":")[0]
    family = str(config["model_type"])
    samples = float(settings["B"])
    return Job(
        "traced" if row["source"] == "given" else "traced-own",
        row["case"],
        model,
        Kernels(
            _PRECISIONS.get(settings["dtype"], settings["dtype"]),
            _OPTIMIZERS.get(optimizer, optimizer),
            "full" if settings.get("ckpt") else "none",
            settings.get("attn") or "sdpa",
            "modules",
        ),
        Layout(micro_batch_size=samples, global_batch_size=samples),
        float(settings["S"]),
        float(row["peak_bytes"]),
        "allocated",
        "traced",
        row["case"],
        family,
        details=row,
    )


# --- Megatron on 8 B200 -------------------------------------------------------------------------

_B200_NETWORKS = {
    "llama3_70b": "llama-3-70b",
    "llama3_405b": "llama-3.1-405b",
    "deepseekv2": "deepseek-v2",
    "deepseekv3": "deepseek-v3",
}


def _b200() -> Iterator[Job]:
    for row in _read("simumax_b200"):
        changes = {"num_hidden_layers": int(row["layers"])}
        if row["model"].startswith("deepseek"):
            changes["first_k_dense_replace"] = 1
        model = network(_B200_NETWORKS[row["model"]], **changes)
        degrees = {
            name: float(row[name]) for name in ("tensor", "pipeline", "context", "expert", "data")
        }
        yield Job(
            "simumax-b200",
            row["case"],
            model,
            Kernels("bf16-mixed"),
            _megatron(degrees, float(row["micro_batch_size"]), float(row["micro_batches"])),
            float(row["sequence_length"]),
            float(row["peak_allocated_gib"]) * GIB,
            "allocated",
            "fused-allocated",
            re.sub(r"_mbc\d+.*", "", row["case"]),
            model.model_type,
            "b200",
        )


def _megatron(degrees: Mapping[str, float], samples: float, micro_batches: float) -> Layout:
    """A Megatron layout: distributed optimizer, sequence parallelism with tensor parallelism."""
    data = degrees["data"]
    used = {name: value for name, value in degrees.items() if name != "data"}
    return Layout(
        devices=degrees["tensor"] * degrees["pipeline"] * degrees["context"] * data,
        zero_stage=1.0,
        sequence_parallel=float(degrees["tensor"] > 1),
        micro_batch_size=samples,
        global_batch_size=samples * micro_batches * data,
        **used,
    )


# --- fine-tuning --------------------------------------------------------------------------------


def _finetuning() -> Iterator[Job]:
    document = json.loads((DATA / "memory_finetuning.json").read_text("utf-8"))
    for row in document["rows"]:
        model = registry.build(document["configs"][row["model"]])
        if "written" in row:
            model = replace(model, model_type=row["written"])
        if row["method"] != "full":
            model = finetuning.adapted(model, _adapters(row))
        samples = float(row["batch"])
        yield Job(
            row["source"],
            row["case"],
            model,
            Kernels(
                row["precision"],
                "adamw",
                row["recomputation"],
                row["attention"],
                "modules",
                row.get("gradient", "fp32"),
            ),
            Layout(micro_batch_size=samples, global_batch_size=samples * row["accumulation"]),
            float(row["sequence"]),
            float(row["observed_bytes"]),
            row["measure"],
            "quantised" if row["method"] == "qlora" else "modules",
            row["case"],
            row["model"],
            details=row,
        )


def _adapters(row: Mapping[str, Any]) -> finetuning.Adapters:
    return finetuning.Adapters(
        row["rank"],
        tuple(row["targets"]),
        row["dropout"],
        row["adapter"],
        row.get("base", ""),
        row.get("quantised_head", False),
        tuple(row.get("trained", ())),
    )


# --- BigScience's trials before BLOOM -----------------------------------------------------------


def _jean_zay() -> Iterator[Job]:
    """Megatron-DeepSpeed on A100-80GB, whole-device readings of nvidia-smi.

    From line 900 of the log on, an optimizer for bf16 kept gradients twice; those are left out.
    """
    for row in _read("throughput_rows"):
        if "tr11-176B" not in row["source"] or not row["memory_per_gpu_gb"] or not row["d_model"]:
            continue
        hidden, parameters = int(row["d_model"]), float(row["params"])
        layers = int(row["layers"] or round((parameters - 250_880 * hidden) / (12.0 * hidden**2)))
        found = re.fullmatch(r"TP=(\d+) PP=(\d+) DP=(\d+) .*", row["parallelism"])
        if found is None:
            continue
        tensor, pipeline, data = (float(part) for part in found.groups())
        if int(row["source"].split()[-1]) >= 900:
            continue
        samples, heads = float(row["micro_batch"]), int(row["heads"])
        model = shapes.gpt(layers, hidden, heads, vocabulary=250_880, positions=0, dropout=0.0)
        yield Job(
            "bigscience-a100",
            f"{row['source'][-9:]} {row['model']} {row['parallelism']} micro-batch {samples:g}",
            model,
            Kernels("bf16-mixed", recomputation="full", attention="eager"),
            Layout(
                devices=tensor * pipeline * data,
                tensor=tensor,
                pipeline=pipeline,
                zero_stage=1.0,
                micro_batch_size=samples,
                global_batch_size=float(row["global_batch"]),
            ),
            2048.0,
            float(row["memory_per_gpu_gb"]) * 1e9,
            "device",
            "fused",
            f"{row['model']} {row['parallelism']} {samples:g}",
            "gpt",
            "a100-sxm4-80gb",
        )


def _read(name: str) -> Iterator[dict[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
