"""Measured training speeds, each as a job that the estimator can be asked about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from service.calibration.measured import Job, accelerator, network, read
from service.calibration.throughput_tables import READERS
from service.core.architecture.families import shapes
from service.core.architecture.network import Network
from service.core.parallelism import Kernels

__all__ = ["Job", "accelerator", "jobs", "network"]


def jobs() -> tuple[Job, ...]:
    """Every row that can be told, of every source."""
    return _jobs()


@cache
def _jobs() -> tuple[Job, ...]:
    found = [*_vtrain("vtrain_single_node", "none"), *_vtrain("vtrain_multi_node", "full")]
    found += _simumax()
    for row in read("throughput_rows"):
        for pattern, reader in READERS.items():
            if re.search(pattern, row["source"]) and row["checked"].startswith("yes"):
                job = reader(row)
                if job is not None:
                    found.append(job)
                break
    return tuple(found)


# --- vTrain (MICRO 2024): Megatron-DeepSpeed, GPT shapes, fp16, A100-80GB SXM -----------------


def _vtrain(name: str, recomputation: str) -> Iterator[Job]:
    kernels = Kernels("fp16-mixed", recomputation=recomputation, attention="eager")
    for row in read(name):
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
    for row in read("simumax_b200"):
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
