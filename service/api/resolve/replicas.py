"""How one replica of a served model is divided over devices."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from service.api.problems import at
from service.api.requests import EstimateRequest, LayoutSpec
from service.api.resolve import realisable
from service.api.resolve.ledger import Ledger
from service.core.architecture.network import Network
from service.core.parallelism import Layout
from service.core.serving import ServingJob, dealing

_OF_TRAINING = {
    "context": 1,
    "expert_tensor": 1,
    "zero_stage": 0,
    "shard_group": 1,
    "interleave": 1,
}
"""Degrees that only a training step has, and the values that leave them out."""


WHY_DEALT = (
    "each device has sequences of its own, as in NVIDIA's published runs of mixtures under load "
    "(TensorRT-LLM perf-overview, llm_options.yml @03e27c7); the engine's own default, and the "
    "other answer, is false"
)
WHY_DIVIDED = "all devices divide a sequence's attention, as the engines do unless told otherwise"


def is_open(spec: LayoutSpec | None) -> bool:
    """Whether a layout names no degree, so that the devices' number decides them."""
    own = spec.attention_data_parallel if spec else None
    return spec is None or (own is not None and spec == LayoutSpec(attention_data_parallel=own))


def spread(request: EstimateRequest, network: Network, job: ServingJob) -> ServingJob:
    """The job with the degrees that a request gives, or those that its devices come to.

    Raises ProblemError for a layout that cannot be realised.
    """
    spec, count = request.layout, request.hardware.count if request.hardware else None
    _check_dealing(spec, network, job.engine)
    job = replace(job, dealt=spec.attention_data_parallel if spec else None)
    if spec is None or is_open(spec):
        found = _of_count(network, job, count or 1)
    else:
        found = _of_degrees(spec, network, job)
    needed = int(found.tensor * found.pipeline * found.data)
    if not is_open(spec) and count not in (None, needed):
        groups = f" x {found.data:g} groups" if found.data > 1 else ""
        detail = f"a replica of tensor {found.tensor:g} x pipeline {found.pipeline:g}{groups} needs"
        raise at("impossible-layout", "/hardware/count", f"{detail} {needed} devices; send that")
    asked = (spec.expert if spec else None) or 1
    realisable.check(network, _layout(found, _expert(found) if found.data > 1 else asked), 1.0)
    return found


def tell(network: Network, job: ServingJob, ledger: Ledger) -> None:
    """Say how a mixture's sequences are spread where the request leaves it open."""
    devices = int(job.tensor * job.data)
    if job.dealt is None and dealing.possible(network, job.engine, devices):
        own = job.data > 1
        why = WHY_DEALT if own else WHY_DIVIDED
        ledger.assume("/layout/attention_data_parallel", own, "default", why)


def _check_dealing(spec: LayoutSpec | None, network: Network, engine: str) -> None:
    """Refuse what no engine deals so. Raises ProblemError."""
    if spec is None or spec.attention_data_parallel is None:
        return
    detail = ""
    if not spec.attention_data_parallel:
        if (spec.expert or 1) > (spec.tensor or 1):
            detail = "expert beyond tensor makes groups with sequences of their own; leave this out"
    elif not network.experts():
        detail = "the model has no experts for its devices to share: ask for more replicas"
    elif engine not in dealing.ENGINES:
        detail = f"{engine} does not offer it; {', '.join(dealing.ENGINES)} do"
    if detail:
        raise at("impossible-layout", "/layout/attention_data_parallel", detail)


def _of_degrees(spec: LayoutSpec, network: Network, job: ServingJob) -> ServingJob:
    """The degrees of a layout; of `tensor` devices each may have sequences of its own."""
    tensor, groups = spec.tensor or 1, _groups(spec)
    job = replace(job, pipeline=float(spec.pipeline or 1))
    if groups > 1:
        return replace(job, tensor=float(tensor), data=float(groups), dealt=True)
    return _spread(network, job, tensor)


def _spread(network: Network, job: ServingJob, devices: int) -> ServingJob:
    """As `dealing` has it. Raises ProblemError where the devices cannot share the experts."""
    if dealing.refused(network, job, devices):
        detail = f"{devices} devices cannot share {network.experts()} experts evenly"
        raise at("impossible-layout", "/layout/attention_data_parallel", detail)
    return dealing.spread(network, job, devices)


def _of_count(network: Network, job: ServingJob, count: int) -> ServingJob:
    """Sequences of their own, or as many tensor ways as the heads allow and stages for the rest."""
    found = _spread(network, job, count)
    if found.data > 1:
        return found
    heads = network.heads()
    tensor = gcd(count, *heads) if heads else 1
    return replace(found, tensor=float(tensor), pipeline=float(count // tensor))


def layout(job: ServingJob) -> Layout:
    """One replica as a layout; experts have all the devices of a pipeline stage as their ways."""
    return _layout(job, _expert(job))


def _expert(job: ServingJob) -> int:
    return int(job.tensor * job.data) if job.data > 1 else 1


def _layout(job: ServingJob, expert: int) -> Layout:
    devices = job.tensor * job.pipeline * job.data
    return Layout(
        devices=float(devices),
        tensor=float(job.tensor),
        pipeline=float(job.pipeline),
        expert=float(expert),
        global_batch_size=float(job.data),
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
