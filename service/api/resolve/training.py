"""From a training workload to a job that the core can estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from service.api.problems import at
from service.api.requests import EstimateRequest, LayoutSpec
from service.api.resolve import realisable
from service.api.resolve.defaults import WHY
from service.api.resolve.layouts import Budget, Chosen, choose, most_devices
from service.api.resolve.ledger import Ledger
from service.api.resolve.open_jobs import OpenJob, described
from service.core.architecture.network import Network
from service.core.estimate import DOES_NOT_FIT
from service.core.finetuning import Objective
from service.core.hardware import Accelerator
from service.core.layout_choice import admission_of_states
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import WAITING, Rollout


@dataclass(frozen=True)
class TrainingJob:
    """A training job with nothing left open."""

    network: Network
    """With adapters, where there are any."""
    accelerator: Accelerator
    kernels: Kernels
    layout: Layout
    sequence_length: float
    tokens: float
    """Samples, for a model without tokens."""
    objective: Objective
    adapters: bool
    """Whether the base is frozen and adapters are trained."""
    rollout: Rollout | None = None
    """What a step generates; None where its samples are given."""


def resolve(
    network: Network,
    request: EstimateRequest,
    accelerator: Accelerator,
    ledger: Ledger,
    budget: Budget | None = None,
) -> TrainingJob:
    """The job of a request; what it leaves out is filled in and recorded.

    Raises OverBudget where the search for a layout costs more than the budget has.
    """
    job = described(network, request, accelerator, ledger)
    if job.question.objective != Objective():
        ledger.warn("objective-time", _told(job.question.objective))
    found = _chosen(request, job, ledger, budget)
    if not job.batch_is_given:
        batch, why = int(found.layout.global_batch_size), WHY["global_batch_size"]
        ledger.assume("/workload/global_batch_size", batch, "default", why)
    return _with(job, found)


def resolve_if_it_fits(
    network: Network, request: EstimateRequest, accelerator: Accelerator, worst: int, budget: Budget
) -> TrainingJob | None:
    """The job of a request; None where its admission is known to be worse than `worst`.

    Raises OverBudget.
    """
    job = described(network, request, accelerator, Ledger())
    devices = _count(request) or (most_devices(job.question) if request.layout is None else inf)
    if admission_of_states(job.question, devices) > worst:
        return None
    if request.layout is not None:
        return _with(job, _chosen(request, job, Ledger()))
    found = _searched(request, job, worst, budget)
    return None if found is None else _with(job, found)


def _with(job: OpenJob, found: Chosen) -> TrainingJob:
    """The job in that layout. Raises ProblemError where nobody can build it."""
    network, kernels, accelerator, sequence, _, objective, adapters = job.question
    realisable.check(network, found.layout, sequence)
    return TrainingJob(
        network,
        accelerator,
        replace(kernels, recomputation=found.recomputation),
        found.layout,
        sequence,
        job.tokens,
        objective,
        adapters,
        job.rollout,
    )


def _told(objective: Objective) -> str:
    """What a step does for its objective, in words."""
    generated = (
        " Samples are generated on the same devices, by an engine that has their memory meanwhile, "
        "and trained on once; sequence_length is their mean length. Published steps waited "
        f"{WAITING.low:g} to {WAITING.high:g} times the engine's time; the interval says so."
    )
    return (
        f"time counts, a sample: sequences trained {objective.trained_sequences:g}, models trained "
        f"{1 + objective.trained_copies:g}, sequences that run forward only "
        f"{objective.forward_sequences:g}; all models are of the policy's size."
        f"{generated if objective.rollout else ''}"
    )


def _count(request: EstimateRequest) -> int | None:
    return request.hardware.count if request.hardware else None


def _chosen(
    request: EstimateRequest, job: OpenJob, ledger: Ledger, budget: Budget | None = None
) -> Chosen:
    """The layout and the recomputation: those that were asked for, or the best."""
    count = _count(request)
    if request.layout is not None:
        recomputation = job.question.kernels.recomputation
        if len(job.recomputations) > 1:
            why = WHY["recomputation"]
            ledger.assume("/workload/recomputation", recomputation, "default", why)
        return Chosen(_given(request.layout, count, job, ledger), recomputation)
    found = _searched(request, job, budget=budget)
    if found is None:
        detail = (
            f"no layout of {count or 1} devices divides the {job.question.global_batch_size:g} "
            "samples of a step evenly; change global_batch_size, micro_batch_size or count"
        )
        raise at("impossible-layout", "/workload/global_batch_size", detail)
    _record(found, count, job, ledger)
    return found


def _searched(
    request: EstimateRequest,
    job: OpenJob,
    worst: int = DOES_NOT_FIT,
    budget: Budget | None = None,
) -> Chosen | None:
    return choose(
        job.question,
        _count(request),
        job.micro_batch_size,
        job.recomputations,
        worst,
        budget,
    )


def _record(found: Chosen, count: int | None, job: OpenJob, ledger: Ledger) -> None:
    layout, why = found.layout, WHY["chosen" if count is None else "chosen_layout"]
    if count is None:
        ledger.assume("/hardware/count", int(layout.devices), "search", why)
    degrees = {name: int(getattr(layout, name)) for name in _DEGREES if getattr(layout, name) > 1}
    degrees["zero_stage"] = int(layout.zero_stage)
    ledger.assume("/layout", degrees, "search", why)
    if job.micro_batch_size is None:
        size = int(layout.micro_batch_size)
        ledger.assume("/workload/micro_batch_size", size, "search", why)
    if len(job.recomputations) > 1:
        ledger.assume("/workload/recomputation", found.recomputation, "search", why)


_DEGREES = ("tensor", "pipeline", "context", "expert")


def _given(spec: LayoutSpec, count: int | None, job: OpenJob, ledger: Ledger) -> Layout:
    """The layout that was asked for; degrees that are left out are 1."""
    if spec.attention_data_parallel:
        detail = "attention_data_parallel is of serving; a training step has data-parallel ranks"
        raise at("impossible-layout", "/layout/attention_data_parallel", detail)
    degrees = {
        name: ledger.choose(f"/layout/{name}", getattr(spec, name), 1, WHY["degree"])
        for name in (*_DEGREES, "expert_tensor", "interleave")
    }
    replica = degrees["tensor"] * degrees["pipeline"] * degrees["context"]
    devices = ledger.choose("/hardware/count", count, replica, WHY["count_of_layout"])
    zero = ledger.choose("/layout/zero_stage", spec.zero_stage, 1, WHY["zero_stage"])
    micro = ledger.choose(
        "/workload/micro_batch_size", job.micro_batch_size, 1, WHY["micro_batch_size"]
    )
    sequence_parallel = ledger.choose(
        "/layout/sequence_parallel",
        spec.sequence_parallel,
        degrees["tensor"] > 1,
        WHY["sequence_parallel"],
    )
    batch, step = job.question.global_batch_size, micro * max(devices // replica, 1)
    if not job.batch_is_given:
        batch = max(round(batch / step), 1) * step
    return Layout(
        devices=float(devices),
        **{name: float(value) for name, value in degrees.items()},
        zero_stage=float(zero),
        shard_group=float(spec.shard_group or 0),
        sequence_parallel=float(sequence_parallel),
        micro_batch_size=float(micro),
        global_batch_size=float(batch),
    )
