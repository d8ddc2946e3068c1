"""One estimate: the request resolved, the core asked, the sections filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.api import (
    calibrating,
    estimating_serving,
    estimating_size,
    limits,
    mapping,
    mapping_spending,
    storing,
    verdicts,
)
from service.api.evaluating import evaluated, prepared
from service.api.provenance import provenance
from service.api.request_models import SafetensorsModel
from service.api.request_workloads import FinetuningWorkload, InferenceWorkload
from service.api.requests import EstimateRequest
from service.api.resolve import models, training
from service.api.resolve.accounting import accounting
from service.api.resolve.layouts import Budget
from service.api.resolve.ledger import Ledger
from service.api.resolve.models import Size
from service.api.resolve.surroundings import Surroundings, surroundings
from service.api.resolve.training import TrainingJob
from service.api.responses import EstimateResponse
from service.catalog.snapshot import Snapshot
from service.core import parameters
from service.core.architecture.network import Network
from service.core.estimate import Estimate

SECTIONS = (
    "parameters",
    "compute",
    "memory",
    "time",
    "serving",
    "cost",
    "carbon",
    "compute_optimal",
    "verdict",
    "layout",
)


@dataclass(frozen=True)
class Context:
    """What an estimate is made with, beside the request."""

    snapshot: Snapshot
    stale: str = ""
    """Why the snapshot may be out of date; empty while the database answers."""

    @property
    def id(self) -> str:
        """Equal ids give equal answers."""
        return f"{self.snapshot.id} {self.stale}"


def estimate(request: EstimateRequest, context: Context) -> EstimateResponse:
    """The answer to a request. Raises ProblemError and CatalogError."""
    snapshot = context.snapshot.as_of(request.as_of) if request.as_of else context.snapshot
    ledger = Ledger()
    if context.stale:
        ledger.warn("catalog-stale", f"answered from the last snapshot: {context.stale}")
    model = models.resolve(snapshot, request.model, ledger)
    sections = _sections(request, model, snapshot, ledger)
    answer = {name: sections.get(name) for name in SECTIONS}
    calibrating.explain_unused(request.cluster, ledger)
    _explain(request, answer, ledger)
    return EstimateResponse(
        **answer,
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot, ledger.runs),
    )


def _explain(request: EstimateRequest, answer: dict[str, Any], ledger: Ledger) -> None:
    """Say why sections are null that this kind of workload does not have."""
    explained = {name for warning in ledger.warnings for name in warning.sections}
    missing = [name for name, value in answer.items() if value is None and name not in explained]
    if missing:
        kind = request.workload.kind if request.workload else "pretraining"
        message = f"not part of the answer for {kind}: {', '.join(missing)}"
        if isinstance(request.workload, InferenceWorkload):
            message += "; serving holds the cost and energy of a token"
        ledger.warn("not-asked", message, *missing)


def _sections(
    request: EstimateRequest, model: Network | Size, snapshot: Snapshot, ledger: Ledger
) -> dict[str, Any]:
    if isinstance(model, Size):
        return estimating_size.sections(request, model, snapshot, ledger)
    if isinstance(request.model, SafetensorsModel):
        return _from_header(request, model, snapshot, ledger)
    if isinstance(request.workload, InferenceWorkload):
        return estimating_serving.sections(request, model, snapshot, ledger)
    return _training(request, model, snapshot, ledger)


def _from_header(
    request: EstimateRequest, network: Network, snapshot: Snapshot, ledger: Ledger
) -> dict[str, Any]:
    """Exact counts of what is stored; the rest as from a size, since names compute nothing."""
    counts = parameters.count(network)
    size = Size(counts.total, round(counts.active))
    found = estimating_size.sections(request, size, snapshot, ledger)
    stored = storing.by_format(request.model, network, ledger)
    return found | {"parameters": mapping.parameters(counts, counts.trainable, stored)}


def _training(
    request: EstimateRequest, network: Network, snapshot: Snapshot, ledger: Ledger
) -> dict[str, Any]:
    around = surroundings(snapshot, request, ledger)
    accelerator = around.accelerator
    counted = accounting(request.accounting, ledger)
    job = training.resolve(network, request, accelerator, ledger)
    correct = calibrating.correcting(snapshot, request.cluster, ledger)
    own = correct(job)
    calibrating.explain(own, request.cluster, ledger)
    answer = evaluated(job, around.place, around.usd_per_device_hour, own, counted)

    def answered(again: TrainingJob) -> verdicts.Answer:
        usd = around.usd_per_device_hour
        return again, evaluated(again, around.place, usd, correct(again), counted)

    def attempt(other: EstimateRequest, worst: int, budget: Budget) -> verdicts.Answer | None:
        again = training.resolve_if_it_fits(network, other, accelerator, worst, budget)
        return None if again is None else answered(again)

    finetuning = isinstance(request.workload, FinetuningWorkload)
    counts = parameters.count(network)
    trained = parameters.count(job.network)
    return {
        "parameters": mapping.parameters(
            counts, trained.trainable, storing.by_format(request.model, network, ledger)
        ),
        "compute": mapping.compute(job.network, job.sequence_length, _samples(job)),
        "memory": mapping.memory(answer),
        "time": mapping.time(answer),
        **_spent(request, job, answer, around, ledger),
        "compute_optimal": _compute_optimal(network, job.tokens, finetuning, ledger),
        "verdict": verdicts.of_training(
            request,
            job,
            answer,
            lambda other: answered(training.resolve(network, other, accelerator, Ledger())),
            attempt,
            around.usd_per_device_hour is not None,
            lambda searched: limits.of_training(request, job, prepared(job, own), searched, ledger),
            ledger,
        ),
        "layout": mapping.layout(job.layout),
    }


def _spent(
    request: EstimateRequest,
    job: training.TrainingJob,
    answer: Estimate,
    around: Surroundings,
    ledger: Ledger,
) -> dict[str, Any]:
    hours = float(answer.wall_clock_seconds.value) / 3600.0
    in_steps = job.tokens / float(answer.tokens_per_second_per_device.value) / 3600.0
    return {
        "cost": mapping_spending.cost(
            answer.spent, answer.device_hours, around, request.pricing, in_steps
        ),
        "carbon": mapping_spending.carbon(
            answer.spent,
            around.place,
            mapping_spending.unit_of(request.accounting, job.tokens, job.network.tokens),
            mapping_spending.start_time(answer.spent, around.place, hours, ledger),
        ),
    }


def _samples(job: training.TrainingJob) -> float:
    return job.tokens / (job.sequence_length if job.network.tokens else 1.0)


def _compute_optimal(network: Network, tokens: float, finetuning: bool, ledger: Ledger) -> Any:
    """The best size for the same compute, where scaling laws speak of such a model."""
    if finetuning or not (network.tokens and network.causal):
        what = "fine-tuning" if finetuning else "models that do not generate text"
        message = f"scaling laws do not speak of {what}"
        ledger.warn("compute-optimal-unknown", message, "compute_optimal")
        return None
    return mapping.compute_optimal(parameters.count(network).active, tokens)
