"""From a training workload to a job that the core can estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.api.problems import at
from service.api.request_workloads import FinetuningWorkload, PretrainingWorkload
from service.api.requests import EstimateRequest, LayoutSpec
from service.api.resolve import defaults, realisable
from service.api.resolve.defaults import WHY
from service.api.resolve.layouts import Chosen, choose
from service.api.resolve.ledger import Ledger
from service.core import estimate as core
from service.core import parameters
from service.core.architecture.network import Network
from service.core.finetuning import ALL_LINEAR, OBJECTIVES, Adapters, Objective, UnknownTarget
from service.core.finetuning import adapted as with_adapters
from service.core.hardware import Accelerator
from service.core.layout_space import Question
from service.core.memory.objectives import held_for
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import PROMPT_SHARE, WAITING, Rollout
from service.core.search import RECOMPUTATIONS, admission_of_states
from service.core.uncertainty import relative
from service.core.weight_formats import UnknownFormat, weight_bytes

TrainingWorkload = PretrainingWorkload | FinetuningWorkload


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


@dataclass(frozen=True)
class OpenJob:
    """A training job whose layout is not chosen yet."""

    question: Question
    tokens: float
    objective: Objective
    adapters: bool
    recomputations: tuple[str, ...]
    """The one that was asked for, or all that may be chosen."""
    micro_batch_size: int | None
    batch_is_given: bool
    rollout: Rollout | None = None


def resolve(
    network: Network, request: EstimateRequest, accelerator: Accelerator, ledger: Ledger
) -> TrainingJob:
    """The job of a request; what it leaves out is filled in and recorded."""
    job = described(network, request, accelerator, ledger)
    if job.objective != Objective():
        ledger.warn("objective-time", _told(job.objective))
    layout, recomputation = _layout(request, job, ledger)
    if not job.batch_is_given:
        why = WHY["global_batch_size"]
        ledger.assume("/workload/global_batch_size", int(layout.global_batch_size), "default", why)
    question = job.question
    realisable.check(question.network, layout, question.sequence_length)
    return TrainingJob(
        question.network,
        accelerator,
        replace(question.kernels, recomputation=recomputation),
        layout,
        question.sequence_length,
        job.tokens,
        job.objective,
        job.adapters,
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


def hopeless(network: Network, request: EstimateRequest, accelerator: Accelerator) -> bool:
    """Whether already the states are too many for the devices that a request names."""
    if request.hardware is None or request.hardware.count is None:
        return False
    question = described(network, request, accelerator, Ledger()).question
    return admission_of_states(question, request.hardware.count) == core.DOES_NOT_FIT


def described(
    network: Network, request: EstimateRequest, accelerator: Accelerator, ledger: Ledger
) -> OpenJob:
    """Everything of a request's job but its layout."""
    workload = request.workload
    if workload is None:
        ledger.assume("/workload/kind", "pretraining", "default", WHY["workload"])
        workload = PretrainingWorkload(kind="pretraining")
    assert isinstance(workload, TrainingWorkload)
    counts = parameters.count(network)
    sequence = _sequence_length(network, workload, ledger)
    tokens = _tokens(network, workload, sequence, ledger)
    objective = _objective(workload, ledger)
    trained = _trained(network, workload, ledger)
    batch = workload.global_batch_size
    if batch is None and isinstance(workload, FinetuningWorkload):
        batch = defaults.FINETUNING_BATCH
    batch = batch or defaults.global_batch_size(network, counts, sequence)
    sharded = request.layout is not None and request.layout.zero_stage == 3
    kernels = _kernels(workload, sharded, ledger)
    chosen = "full" if workload.recomputed_share else workload.recomputation
    return OpenJob(
        Question(trained, kernels, accelerator, sequence, float(batch)),
        tokens,
        objective,
        parameters.count(trained).trainable < counts.trainable,
        RECOMPUTATIONS if chosen is None else (chosen,),
        workload.micro_batch_size,
        workload.global_batch_size is not None,
        _rollout(workload, objective, sequence, ledger),
    )


def _sequence_length(network: Network, workload: TrainingWorkload, ledger: Ledger) -> float:
    length, why = defaults.sequence_length(network)
    if workload.sequence_length is None or not network.tokens:
        ledger.assume("/workload/sequence_length", length, "default", why)
        return float(length)
    given = workload.sequence_length
    if not network.reads(given):
        ledger.warn(
            "sequence-beyond-limit",
            f"sequence_length {given} is beyond the model's limit of {network.sequence_limit}",
        )
    return float(given)


def _tokens(network: Network, workload: TrainingWorkload, sequence: float, ledger: Ledger) -> float:
    if workload.tokens is not None:
        return workload.tokens
    if isinstance(workload, FinetuningWorkload):
        tokens, why = defaults.FINETUNING_SAMPLES * sequence, WHY["finetuning_tokens"]
    else:
        tokens, why = defaults.tokens(network, parameters.count(network))
    ledger.assume("/workload/tokens", tokens, "default", why)
    return tokens


def _objective(workload: TrainingWorkload, ledger: Ledger) -> Objective:
    if not isinstance(workload, FinetuningWorkload):
        return Objective()
    name = ledger.choose("/workload/objective", workload.objective, "sft", WHY["objective"])
    return OBJECTIVES[name]


def _rollout(
    workload: TrainingWorkload, objective: Objective, sequence: float, ledger: Ledger
) -> Rollout | None:
    """What a step generates, where the objective has it do so."""
    if not isinstance(workload, FinetuningWorkload) or not objective.rollout:
        return None
    pointer = "/workload/prompt_tokens"
    prompt = workload.prompt_tokens
    if prompt is None:
        prompt = max(round(PROMPT_SHARE * sequence), 1)
        ledger.assume(pointer, prompt, "default", WHY["prompt_tokens"])
    if prompt >= sequence:
        detail = f"the prompt leaves nothing of the {sequence:.0f} tokens of a sample to generate"
        raise at("invalid-request", pointer, detail)
    return Rollout(float(prompt), sequence - prompt)


def _trained(network: Network, workload: TrainingWorkload, ledger: Ledger) -> Network:
    """The network as it is trained: with adapters where the method has them."""
    if not isinstance(workload, FinetuningWorkload):
        return network
    method = ledger.choose("/workload/method", workload.method, "lora", WHY["method"])
    if method == "full":
        return network
    rank = ledger.choose("/workload/rank", workload.rank, defaults.LORA_RANK, WHY["lora_rank"])
    targets = ledger.choose(
        "/workload/targets", workload.targets, [ALL_LINEAR], WHY["lora_targets"]
    )
    base_format = ""
    if method == "qlora":
        base_format = ledger.choose(
            "/workload/base_format", workload.base_format, "nf4-double", WHY["base_format"]
        )
    try:
        weight_bytes(network, base_format or "bf16")
        return with_adapters(network, Adapters(rank, tuple(targets), base_format=base_format))
    except UnknownTarget as error:
        raise at("invalid-request", "/workload/targets", str(error)) from None
    except UnknownFormat as error:
        raise at("invalid-request", "/workload/base_format", str(error)) from None


_CHOICES: Mapping[str, str] = {
    "precision": "bf16-mixed",
    "optimizer": "adamw",
    "recomputation": "none",
    "attention": "flash",
    "gradient_precision": "fp32",
    "implementation": "fused",
    "offload": "none",
}


_FINETUNING: Mapping[str, str] = {"precision": "bf16", "implementation": "modules"}
_MODULES = frozenset(("fp32", "bf16", "fp16", "bf16-autocast", "fp16-autocast"))
"""Precisions that PyTorch trains in by itself; the mixed ones come with Megatron and DeepSpeed."""


def _kernels(workload: TrainingWorkload, sharded: bool, ledger: Ledger) -> Kernels:
    """The choices of a workload; `sharded`: the request says that ZeRO divides the parameters."""
    values: dict[str, Any] = {}
    finetuned = isinstance(workload, FinetuningWorkload)
    for name, usual in _CHOICES.items():
        given = getattr(workload, name)
        default, why = usual, WHY.get(name, "")
        if finetuned and name in _FINETUNING:
            default, why = _FINETUNING[name], WHY[f"finetuning_{name}"]
        elif name == "implementation" and values["precision"] in _MODULES:
            default, why = "modules", WHY["finetuning_implementation"]
        elif name == "implementation" and sharded:
            default, why = "modules", WHY["sharded_implementation"]
        if name != "recomputation":
            given = ledger.choose(f"/workload/{name}", given, default, why)
        values[name] = given or default
    share = workload.recomputed_share
    kernels = Kernels(**values)
    if share is None:
        return kernels
    if workload.recomputation not in (None, "full"):
        detail = "recomputed_share goes with recomputation full; set that, or leave the share out"
        raise at("invalid-request", "/workload/recomputed_share", detail)
    return replace(kernels, recomputation="full", recomputed_share=share)


def _layout(request: EstimateRequest, job: OpenJob, ledger: Ledger) -> tuple[Layout, str]:
    """The layout and the recomputation: those that were asked for, or the best."""
    count = request.hardware.count if request.hardware else None
    if request.layout is not None:
        recomputation = job.question.kernels.recomputation
        if len(job.recomputations) > 1:
            why = WHY["recomputation"]
            ledger.assume("/workload/recomputation", recomputation, "default", why)
        return _given(request.layout, count, job, ledger), recomputation
    found = choose(
        job.question,
        count,
        job.micro_batch_size,
        job.recomputations,
        lambda chosen: _holds_objective(job, chosen),
    )
    if found is None:
        detail = (
            f"no layout of {count or 1} devices divides the {job.question.global_batch_size:g} "
            "samples of a step evenly; change global_batch_size, micro_batch_size or count"
        )
        raise at("impossible-layout", "/workload/global_batch_size", detail)
    _record(found, count, job, ledger)
    return found.layout, found.recomputation


def _holds_objective(job: OpenJob, chosen: Chosen) -> bool:
    """Whether the further models of the objective fit beside the policy."""
    if job.objective == Objective():
        return True
    network, kernels, accelerator, sequence, _ = job.question
    named = replace(kernels, recomputation=chosen.recomputation)
    pipeline = int(chosen.layout.pipeline)
    prepared = core.prepare(network, named, accelerator, pipeline, sequence)
    stages = tuple(
        (held_for(table, job.objective, job.adapters), stage)
        for table, stage in prepared.memory_stages
    )
    parts, _ = core.worst_memory(replace(prepared, memory_stages=stages), chosen.layout)
    peak = relative(parts.peak, *prepared.memory_bounds)
    return bool(core.admission(peak, accelerator.memory_bytes) == core.FITS)


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
