"""How one replica of a served model is divided over devices."""

from __future__ import annotations

from collections.abc import Collection
from math import gcd
from typing import NamedTuple

from service.api.problems import at
from service.api.request_workloads import InferenceWorkload
from service.api.requests import EstimateRequest, LayoutSpec
from service.api.resolve import realisable
from service.api.resolve.ledger import Ledger
from service.core.architecture.network import Network
from service.core.numeric import Number
from service.core.parallelism import Layout

_OF_TRAINING = {
    "context": 1,
    "expert_tensor": 1,
    "zero_stage": 0,
    "shard_group": 1,
    "interleave": 1,
}
"""Degrees that only a training step has, and the values that leave them out."""


class Ways(NamedTuple):
    """Degrees of one replica."""

    tensor: int
    pipeline: int
    data: int
    """Groups of `tensor` devices, each with sequences of its own; all share the experts."""


DEALT_FROM = 16
"""Sequences of a device from which a mixture's are dealt to the devices of a bare count."""
_WHY_DEALT = (
    "attention data parallelism, as NVIDIA's published runs of mixtures under load; a layout's "
    "`tensor` divides attention instead (TensorRT-LLM perf-overview, llm_options.yml @00f3768)"
)


def ways(request: EstimateRequest, network: Network, ledger: Ledger) -> Ways:
    """The degrees that a request gives, or those that a bare count of devices comes to.

    Raises ProblemError for a layout that cannot be realised.
    """
    spec, count = request.layout, request.hardware.count if request.hardware else None
    if spec is None:
        found, expert = _of_count(count or 1, network.heads()), 1
        if _dealt(request, network, count or 1):
            found = Ways(1, 1, count or 1)
            expert = ledger.choose("/layout/expert", None, found.data, _WHY_DEALT)
    else:
        found, expert = Ways(spec.tensor or 1, spec.pipeline or 1, _groups(spec)), spec.expert or 1
    needed = found.tensor * found.pipeline * found.data
    if spec is not None and count not in (None, needed):
        groups = f" x {found.data} groups" if found.data > 1 else ""
        detail = f"a replica of tensor {found.tensor} x pipeline {found.pipeline}{groups} needs"
        raise at("impossible-layout", "/hardware/count", f"{detail} {needed} devices; send that")
    realisable.check(network, _layout(found, expert), 1.0)
    return found


def _dealt(request: EstimateRequest, network: Network, count: int) -> bool:
    """Whether a mixture under load is served with sequences of its own on each device."""
    workload, experts = request.workload, network.experts()
    if not isinstance(workload, InferenceWorkload) or workload.engine != "tensorrt-llm":
        return False
    loaded = (workload.concurrency or 1) >= DEALT_FROM * count
    return loaded and count > 1 and experts > 0 and experts % count == 0


def _of_count(count: int, heads: Collection[int]) -> Ways:
    """As many tensor ways as the heads allow; pipeline stages make up the rest."""
    tensor = gcd(count, *heads) if heads else 1
    return Ways(tensor, count // tensor, 1)


def layout(tensor: Number, pipeline: Number, data: Number) -> Layout:
    """One replica as a layout; experts have all the devices of a pipeline stage as their ways."""
    found = Ways(int(tensor), int(pipeline), int(data))
    return _layout(found, found.tensor * found.data if found.data > 1 else 1)


def _layout(found: Ways, expert: int) -> Layout:
    return Layout(
        devices=float(found.tensor * found.pipeline * found.data),
        tensor=float(found.tensor),
        pipeline=float(found.pipeline),
        expert=float(expert),
        global_batch_size=float(found.data),
    )


def _groups(spec: LayoutSpec) -> int:
    """Groups that expert ways beyond the tensor ways make."""
    for name, without in _OF_TRAINING.items():
        if getattr(spec, name) not in (None, without):
            detail = f"{name} divides a training step; a replica has tensor, pipeline and expert"
            raise at("impossible-layout", f"/layout/{name}", detail)
    tensor, expert = spec.tensor or 1, spec.expert or 1
    if expert % tensor and tensor % expert:
        detail = f"expert {expert} must be a multiple of tensor {tensor}, or divide it"
        raise at("impossible-layout", "/layout/expert", detail)
    return max(expert // tensor, 1)
