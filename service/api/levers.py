"""What of a request could be changed so that its job takes less memory, as merge patches.

A lever is one kind of change, its weakest setting first; the first setting that fits is the
smallest. Where no lever is enough by itself, `together` pulls several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.api.request_workloads import FinetuningWorkload, InferenceWorkload
from service.api.requests import EstimateRequest
from service.api.resolve.replicas import is_open
from service.api.resolve.training import TrainingJob
from service.core.serving.composition import ServingJob

Patch = dict[str, Any]
Lever = list[Patch]
FACTORS = (2, 4, 8, 16, 32, 64)
_RECOMPUTATIONS = ("none", "selective", "half", "full")
_OFFLOADS = ("none", "optimizer", "parameters")


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def of_training(request: EstimateRequest, job: TrainingJob) -> Iterator[Lever]:
    """Each kind of change by itself."""
    put = _workload(request)
    yield [put(recomputation=name) for name in _after(_RECOMPUTATIONS, job.kernels.recomputation)]
    if job.kernels.recomputed_share < 1.0:
        yield [put(recomputed_share=None)]
    yield [put(micro_batch_size=size) for size in _halvings(int(job.layout.micro_batch_size))]
    yield _more_devices(request, job)
    if job.kernels.optimizer == "adamw":
        yield [put(optimizer="adamw-8bit")]
    yield [put(offload=name) for name in _after(_OFFLOADS, job.kernels.offload)]
    workload = request.workload
    if isinstance(workload, FinetuningWorkload) and workload.method != "qlora" and job.adapters:
        yield [put(method="qlora")]
    yield from _divisions(request, job)


def _workload(request: EstimateRequest) -> Callable[..., Patch]:
    kind = request.workload.kind if request.workload else "pretraining"
    return lambda **changes: {"workload": {"kind": kind, **changes}}


def _after(names: tuple[str, ...], now: str) -> tuple[str, ...]:
    return names[names.index(now) + 1 :]


def _halvings(size: int) -> Iterator[int]:
    while size > 1:
        size //= 2
        yield size


def _divisions(request: EstimateRequest, job: TrainingJob) -> Iterator[Lever]:
    """Changes of a layout that was asked for: further ZeRO stages, tensor and pipeline ways."""
    if request.layout is None:
        return
    now = job.layout
    yield [{"layout": {"zero_stage": stage}} for stage in range(int(now.zero_stage) + 1, 4)]
    for name, most in (("tensor", job.accelerator.devices_per_node), ("pipeline", 64)):
        ways = [int(getattr(now, name)) * factor for factor in FACTORS]
        yield [_divided(job, name, way) for way in ways if way <= most]


def _divided(job: TrainingJob, name: str, ways: int) -> Patch:
    """More ways on the same devices, or on as many more as the ways need."""
    now = job.layout
    replica = int(now.tensor * now.pipeline * now.context) // int(getattr(now, name)) * ways
    devices = int(now.devices)
    return {
        "layout": {name: ways},
        "hardware": {"count": devices if devices % replica == 0 else max(devices, replica)},
    }


def _more_devices(request: EstimateRequest, job: TrainingJob) -> Lever:
    """More devices: in the layout asked for, where there is one."""
    factors = FACTORS if request.layout is None else FACTORS[:3]
    return [{"hardware": {"count": int(job.layout.devices) * factor}} for factor in factors]


def together(request: EstimateRequest, job: TrainingJob) -> Lever:
    """Several changes at once, those without a search for a layout first."""
    put = _workload(request)
    frugal = put(recomputation="full", micro_batch_size=1)
    combined = [frugal]
    if request.layout is not None:
        combined.append(merged(frugal, {"layout": {"zero_stage": 3}}))
        combined += [{"layout": None}, {"layout": None} | frugal]
    if job.kernels.optimizer == "adamw":
        combined.append(merged(frugal, put(optimizer="adamw-8bit")))
    combined += [_anywhere(request, frugal, int(job.layout.devices) * f) for f in FACTORS]
    offloaded = merged(frugal, put(offload="parameters"))
    most = int(job.layout.devices) * FACTORS[-1]
    return [*combined, offloaded, _anywhere(request, offloaded, most)]


def _anywhere(request: EstimateRequest, patch: Patch, count: int) -> Patch:
    """The patch with that many devices, in the best layout of them."""
    free = {} if request.layout is None else {"layout": None}
    return patch | free | {"hardware": {"count": count}}


_WEIGHTS = ("fp8", "int8", "awq-int4-g128")
_GGUF_WEIGHTS = ("gguf:Q8_0", "gguf:Q6_K", "gguf:Q4_K_M", "gguf:Q3_K_M", "gguf:Q2_K")


def of_serving(
    request: EstimateRequest, workload: InferenceWorkload, job: ServingJob, most_ways: int
) -> Iterator[Lever]:
    """No draft, smaller weights and cache, divided attention, fewer or shorter prompts, devices."""
    put = _workload(request)
    if workload.draft is not None:
        yield [put(draft=None)]
    gguf = job.weights.startswith("gguf:") or job.engine == "llama.cpp"
    formats = _GGUF_WEIGHTS if gguf else _WEIGHTS
    yield [put(weights=name) for name in formats if name != job.weights]
    if job.cache in ("bf16", "fp16", "fp32"):
        yield [put(kv_cache="fp8")]
    if job.data > 1 and job.tensor == 1:
        divided = {"tensor": int(job.data), "expert": None, "attention_data_parallel": False}
        yield [{"layout": divided}]
    yield [put(concurrency=count) for count in _halvings(int(job.concurrency))]
    yield [put(prompt_tokens=count) for count in _halvings(int(job.prompt_tokens))]
    ways = [int(job.tensor) * factor for factor in FACTORS]
    if job.data > 1 and job.tensor == 1:
        ways = [int(job.data) * factor for factor in FACTORS]
    yield [_served_on(request, job, way) for way in ways if way <= most_ways]


def _served_on(request: EstimateRequest, job: ServingJob, ways: int) -> Patch:
    if is_open(request.layout):
        return {"hardware": {"count": ways}}
    degrees: Patch = {"tensor": ways}
    if job.data > 1 and job.tensor > 1:
        degrees["expert"] = ways = ways * int(job.data)
    elif job.data > 1:
        degrees |= {"expert": None, "attention_data_parallel": True}
    return {"layout": degrees, "hardware": {"count": ways * int(job.pipeline)}}


def serving_together(
    request: EstimateRequest, workload: InferenceWorkload, job: ServingJob, most_ways: int
) -> Lever:
    """The smallest weights and cache on more and more devices, then one sequence at a time."""
    levers = list(of_serving(request, workload, job, most_ways))
    smallest: Patch = {}
    for lever in levers[:-2]:
        if lever:
            smallest = merged(smallest, lever[-1])
    ways = [merged(smallest, patch) for patch in levers[-1]]
    shorter = [merged(patch, short) for patch in ([smallest, *ways][-1:]) for short in levers[-2]]
    return [smallest, *ways, *shorter]
