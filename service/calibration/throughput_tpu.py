"""Reader of MaxText's published step times on TPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.calibration.measured import Job, Row, accelerator, job_of, network, number
from service.core import memory
from service.core.architecture.network import Network
from service.core.parallelism import Kernels, Layout

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


def tpu(row: Row) -> Job | None:
    """MaxText on TPUs: weights sharded over all chips, recomputed where memory asks for it.

    Lengths that a row leaves out are those of the published recipe of its model.
    """
    name = row["model"].lower().removesuffix("-maxtext").replace("llama-3.1", "llama3.1")
    known, tokens = _TPU_MODELS.get(name), number(row["tokens_per_sec_per_gpu"])
    if known is None or tokens is None or row["hardware"] not in _TPUS:
        return None
    net, length = network(known[0]), float(row["seq_len"] or known[1])
    devices, device = float(row["n_gpus"]), _TPUS[row["hardware"]]
    seconds = number(row["step_time_s"])
    batch = number(row["global_batch"]) or (
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
    job = job_of(row, "maxtext-tpu", net, kernels, device, layout, measured)
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
