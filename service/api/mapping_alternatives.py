"""From the core's comparison of alternatives to the response."""

from __future__ import annotations

from service.api.alternative_models import (
    Alternative,
    FleetShape,
    FoundEvidence,
    QualityEvidence,
    RecommendedExperiment,
    SizeRung,
)
from service.api.estimating_serving import DEALING_NOT_MEASURED as DEALING_NOT_MEASURED
from service.api.estimating_serving import LEVELS as LEVELS
from service.api.mapping import finite, maybe, predicted
from service.api.resolve import defaults
from service.api.resolve.ledger import Ledger
from service.api.resolve.surroundings import Surroundings
from service.core import parameters
from service.core.alternatives import Comparison
from service.core.architecture.network import Network
from service.core.candidates import Need, Option
from service.core.diminishing import FACTORS, Rung
from service.core.diminishing import ladder as core_ladder
from service.core.quality_evidence import Matched, Quality
from service.core.serving import ServingEstimate, ServingJob
from service.core.serving.economics import (
    joules_per_output_token,
    kgco2e_per_million_output_tokens,
    usd_per_million_output_tokens,
)
from service.core.serving.fleet import Fleet

MOST_FINDINGS = 6


def option(found: Option, compared: Comparison, need: Need, months: float) -> Alternative:
    """One option of the comparison."""
    candidate = found.candidate
    usd, kilograms = found.usd_per_month, found.kgco2e_per_month
    per_token = found.generates
    outputs = found.usd_per_million_output_tokens
    million = 1e6 / need.requests_per_month
    return Alternative(
        name=candidate.name,
        model=candidate.name.split(f" {candidate.weights}")[0],
        weights=candidate.weights,
        how=list(candidate.techniques) + (["cascade"] if candidate.escalates_to else []),
        parameters=found.parameters,
        stored_bytes=found.stored_bytes,
        fit=found.fit,
        reason=found.reason or None,
        devices=found.devices if found.fleets else None,
        fleets=[_fleet(fleet) for fleet in found.fleets],
        first_token_seconds=maybe(found.first_token_seconds),
        decode_seconds_per_token=maybe(found.seconds_per_token) if per_token else None,
        usd_per_month=None if usd is None else usd.value,
        kgco2e_per_month=maybe(kilograms),
        usd_per_million_output_tokens=outputs.value if outputs and per_token else None,
        kgco2e_per_million_output_tokens=maybe(found.kgco2e_per_million_output_tokens)
        if per_token
        else None,
        usd_per_million_requests=None if usd is None else usd.value * million,
        kgco2e_per_million_requests=maybe(kilograms and kilograms.times(million)),
        making_usd=candidate.making_usd,
        making_kgco2e=candidate.making_kgco2e,
        payback_months=finite(found.payback_months),
        usd_over_horizon=None if usd is None else usd.value * months + candidate.making_usd,
        kgco2e_over_horizon=None
        if kilograms is None
        else kilograms.value * months + candidate.making_kgco2e,
        pareto=candidate.name in compared.undominated,
        dominated_by=list(compared.dominated.get(candidate.name, ())),
        quality=_quality(found.quality),
    )


def _fleet(fleet: Fleet) -> FleetShape:
    return FleetShape(
        replicas=fleet.replicas,
        tensor=fleet.stage_devices,
        pipeline=fleet.pipeline,
        attention_data_parallel=fleet.data > 1,
        capacity_requests_per_second=fleet.capacity_requests_per_second,
        utilization=fleet.utilization,
        concurrency_at_peak=float(fleet.at_peak.batch),
        calibration=fleet.at_peak.level,
    )


def _quality(found: Quality) -> QualityEvidence:
    return QualityEvidence(
        measured_on_task=found.measured_on_task,
        advice=found.advice,
        findings=[_finding(matched) for matched in found.matched[:MOST_FINDINGS]],
    )


def _finding(matched: Matched) -> FoundEvidence:
    finding = matched.finding
    return FoundEvidence(
        id=finding.id,
        finding=finding.finding,
        use=finding.use,
        same_task=matched.same_task,
        same_family=matched.same_family,
        same_size=matched.same_size,
        same_pair=matched.same_pair,
        tasks=list(finding.tasks),
        parameters=list(finding.parameters),
        numbers=dict(finding.numbers),
        confidence=finding.confidence,
        limits=finding.limits,
        source=finding.source,
    )


def experiment(compared: Comparison) -> RecommendedExperiment | None:
    """What to measure next."""
    found = compared.experiment
    if found is None:
        return None
    return RecommendedExperiment(
        candidate=found.candidate,
        requests=found.requests,
        usd=found.usd,
        gains=found.gains,
        why=found.why,
    )


def tokens_or_optimal(stated: float | None, network: Network, ledger: Ledger) -> float:
    """Training tokens, or 20 for each parameter with an entry that says so."""
    counted = parameters.count(network).active
    default = defaults.TOKENS_PER_PARAMETER * counted
    chosen: float = ledger.choose("/training_tokens", stated, default, defaults.WHY["tokens"])
    return chosen


def ladder(
    network: Network, around: Surroundings, job: ServingJob, training_tokens: float
) -> list[SizeRung]:
    """The model, a half and a quarter of it, each on the fewest devices that hold it, full."""
    return [
        _rung(_fitting(network, around, job, training_tokens, factor), around, job)
        for factor in FACTORS
    ]


def _fitting(
    network: Network, around: Surroundings, job: ServingJob, training_tokens: float, factor: float
) -> Rung:
    """The size on the fewest tensor ways, at the concurrency that then fits."""
    accelerator = around.accelerator
    tensor = 1.0
    while True:
        asked = ServingJob(
            job.weights,
            job.cache,
            job.engine,
            tensor=tensor,
            concurrency=FULL_CONCURRENCY,
            prompt_tokens=job.prompt_tokens,
            output_tokens=job.output_tokens,
        )
        (found,) = core_ladder(network, accelerator, asked, training_tokens, factors=(factor,))
        if found.serving.mean_concurrency >= 1 or tensor >= MOST_WAYS:
            return found
        tensor *= 2.0


FULL_CONCURRENCY = 64.0
"""Sequences in flight of a replica that is kept busy, where its memory holds them."""
MOST_WAYS = 64.0


def _rung(found: Rung, around: Surroundings, job: ServingJob) -> SizeRung:
    serving: ServingEstimate = found.serving
    joules = joules_per_output_token(serving, around.accelerator, job.weights, around.place.pue)
    return SizeRung(
        factor=found.factor,
        parameters=found.parameters,
        loss=found.loss,
        loss_added=found.loss_added,
        weights_bytes=serving.weights_bytes,
        devices=int(serving.devices),
        fits=bool(serving.mean_concurrency >= 1),
        peak_bytes=serving.memory.peak_bytes,
        decode_seconds_per_token=predicted(serving.decode_seconds_per_token),
        output_tokens_per_second=predicted(serving.output_tokens_per_second),
        usd_per_million_output_tokens=predicted(
            usd_per_million_output_tokens(serving, around.usd_per_device_hour or 0.0)
        ),
        kgco2e_per_million_output_tokens=predicted(
            kgco2e_per_million_output_tokens(joules, around.place.grid)
        ),
    )
