"""Everything of a training workload but its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.api.problems import at
from service.api.request_workloads import FinetuningWorkload, PretrainingWorkload
from service.api.requests import EstimateRequest
from service.api.resolve import defaults
from service.api.resolve.defaults import WHY
from service.api.resolve.ledger import Ledger
from service.core import parameters
from service.core.architecture.network import Network
from service.core.finetuning import ALL_LINEAR, OBJECTIVES, Adapters, Objective, UnknownTarget
from service.core.finetuning import adapted as with_adapters
from service.core.hardware import Accelerator
from service.core.layout_space import RECOMPUTATIONS, Question
from service.core.parallelism import Kernels
from service.core.rollouts import PROMPT_SHARE, Rollout
from service.core.weight_formats import UnknownFormat, weight_bytes

TrainingWorkload = PretrainingWorkload | FinetuningWorkload


@dataclass(frozen=True)
class OpenJob:
    """A training job whose layout is not chosen yet."""

    question: Question
    tokens: float
    recomputations: tuple[str, ...]
    """The one that was asked for, or all that may be chosen."""
    micro_batch_size: int | None
    batch_is_given: bool
    rollout: Rollout | None = None


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
        Question(
            trained,
            kernels,
            accelerator,
            sequence,
            float(batch),
            objective,
            parameters.count(trained).trainable < counts.trainable,
        ),
        tokens,
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
