"""/alternatives: the model in use and what might replace it, sized for the same traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.api import comparing_candidates as candidates
from service.api import comparing_encoders as encoders
from service.api import mapping_alternatives as mapping
from service.api.alternative_models import (
    AlternativesRequest,
    AlternativesResponse,
    AtOutputLength,
    AtPrice,
    AtRate,
    BesideSmaller,
    SizeRung,
)
from service.api.estimating import Context, estimate
from service.api.estimating_serving import job_of
from service.api.problems import ProblemError, at, within
from service.api.provenance import provenance
from service.api.request_models import CatalogModel
from service.api.request_serving import LatencySpec
from service.api.request_workloads import FinetuningWorkload, InferenceWorkload
from service.api.requests import EstimateRequest, Hardware
from service.api.resolve import models
from service.api.resolve.ledger import Ledger
from service.api.resolve.replicas import is_open
from service.api.resolve.surroundings import Surroundings, surroundings
from service.catalog.snapshot import Snapshot
from service.core.alternatives import (
    PRICE_FACTORS,
    Comparison,
    at_length,
    break_even_share,
    cheapest_over,
    compare,
)
from service.core.architecture.network import Network
from service.core.candidates import Candidate, Need, Option
from service.core.serving import ServingJob, dealing, encoding
from service.core.serving.fleet import Target, Traffic

INNER = "/request"
"""Where the body holds the request of the model in use."""
ESCALATED = 0.3
_WHY_ESCALATED = "an example: only your own traffic tells; see break_even_escalated_share"
_WHY_FREE = "conversions without training take minutes on one device"


def answer(body: AlternativesRequest, snapshot: Snapshot) -> AlternativesResponse:
    """The options side by side. Raises ProblemError."""
    ledger, inner = Ledger(), Ledger()
    if body.request.as_of:
        snapshot = snapshot.as_of(body.request.as_of)
    _check(body)
    with within(INNER):
        network = _network(body, snapshot, inner)
    if not network.causal:
        encoders.check(body)
    with within(INNER):
        around = surroundings(snapshot, body.request, inner)
        job = _job(body, network, inner) if network.causal else encoders.job(body, network, inner)
    ledger.copy_below(INNER, inner.entries())
    need = _need(body, job, around)
    known = candidates.in_use(body, snapshot, network)
    listed = isinstance(body.request.model, CatalogModel)
    name = f"{known.name if listed else 'the model in use'} {job.weights}"
    current = Candidate(
        name,
        known.family,
        network,
        around.accelerator,
        job.weights,
        job.cache,
        job.engine,
        job.dealt,
    )
    candidates.check_formats(body, network, job.weights)
    others = candidates.alternatives(body, current, known, job, snapshot, ledger)
    share = ledger.choose("/escalated_share", body.escalated_share, ESCALATED, _WHY_ESCALATED)
    both = candidates.cascade(current, others, share)
    others += [*_adapted(body, others, snapshot, ledger), *([both] if both else ())]
    ledger.assume("/candidates/making_usd", 0.0, "default", _WHY_FREE)
    compared = compare(current, others, need)
    _explain(compared, job, ledger)
    sizes = _sizes(body, network, around, job, snapshot, ledger)
    return AlternativesResponse(
        options=[
            mapping.option(one, compared, need, body.horizon_months) for one in compared.options
        ],
        pareto=list(compared.undominated),
        beside=[BesideSmaller(smaller=s, larger=m) for s, m in compared.beside],
        by_rate=_by_rate(compared, need),
        by_output_length=_by_output(compared, need),
        by_price=_by_price(compared, need, body.horizon_months),
        break_even_escalated_share=both and break_even_share(both, current, need),
        experiment=mapping.experiment(compared),
        diminishing=sizes,
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot),
    )


def _check(body: AlternativesRequest) -> None:
    """Refuse what a comparison has no use for. Raises ProblemError."""
    inner = body.request
    if not isinstance(inner.workload, InferenceWorkload):
        raise at("invalid-request", f"{INNER}/workload", "send an inference workload")
    if not is_open(inner.layout):
        detail = "leave layout's degrees out: they are what is sought"
        raise at("invalid-request", f"{INNER}/layout", detail)
    if inner.workload.draft is not None:
        detail = "leave draft out: options are compared as they decode by themselves"
        raise at("invalid-request", f"{INNER}/workload/draft", detail)


def _network(body: AlternativesRequest, snapshot: Snapshot, ledger: Ledger) -> Network:
    found = models.resolve(snapshot, body.request.model, ledger)
    if not isinstance(found, Network) or not candidates.served(found):
        detail = (
            "alternatives are compared for models that read tokens, by their architecture: send "
            "catalog, huggingface or safetensors; of images, audio and bare sizes /estimate gives "
            "parameters and FLOPs, one model at a time"
        )
        raise at("invalid-request", "/model", detail)
    return found


def _job(body: AlternativesRequest, network: Network, ledger: Ledger) -> ServingJob:
    """The workload's job, with the traffic's lengths where it states them."""
    workload, traffic = body.request.workload, body.traffic
    assert isinstance(workload, InferenceWorkload)
    prompt, output = traffic.prompt_tokens, traffic.output_tokens
    lengths = {
        "prompt_tokens": prompt.mean if prompt else workload.prompt_tokens,
        "output_tokens": output.mean if output else workload.output_tokens,
        "concurrency": workload.concurrency or 1,
    }
    hardware = body.request.hardware
    alone = Hardware(accelerator=hardware.accelerator) if hardware else None
    changed = workload.model_copy(update=lengths)
    request = body.request.model_copy(update={"hardware": alone, "workload": changed})
    job = job_of(request, network, changed, ledger)
    longest = (prompt.longest if prompt else job.prompt_tokens) + (
        output.longest if output else job.output_tokens
    )
    return replace(job, longest_tokens=float(longest))


def _need(body: AlternativesRequest, job: ServingJob, around: Surroundings) -> Need:
    usd = around.usd_per_device_hour
    if usd is None:
        detail = (
            "a comparison in money needs a price; send request.pricing.usd_per_device_hour "
            "(of a device of your own what an hour of it costs you, 0 to leave money out)"
        )
        raise at("unknown-price", "/request/pricing", detail)
    limits = body.latency or LatencySpec()
    hardware = body.request.hardware
    return Need(
        Traffic(body.traffic.requests_per_second, body.traffic.peak_to_mean),
        Target(limits.seconds_per_token, limits.first_token_seconds, limits.request_seconds),
        float(job.prompt_tokens),
        float(job.output_tokens),
        body.task,
        usd,
        around.place.grid,
        around.place.pue,
        longest_tokens=float(job.longest_tokens or 0.0),
        devices_at_hand=hardware.count if hardware else None,
        horizon_months=body.horizon_months,
    )


def _adapted(
    body: AlternativesRequest, others: Sequence[Candidate], snapshot: Snapshot, ledger: Ledger
) -> list[Candidate]:
    """The next smaller one of the catalog with adapters, its making estimated as a job."""
    spec = body.adapter
    for base in others:
        name = base.name.removesuffix(f" {base.weights}")
        if "smaller" not in base.techniques or snapshot.find("models", name) is None:
            continue
        workload = FinetuningWorkload(
            kind="finetuning",
            method="lora",
            tokens=spec.tokens if spec else None,
            rank=spec.rank if spec else None,
        )
        request = EstimateRequest(
            model=CatalogModel(kind="catalog", name=name),
            workload=workload,
            hardware=Hardware(accelerator=base.accelerator.name),
            site=body.request.site,
            pricing=body.request.pricing,
        )
        try:
            made = estimate(request, Context(snapshot))
        except ProblemError as problem:
            ledger.warn("adapter-not-priced", f"fine-tuning {name}: {problem}")
            return []
        if made.cost is None or made.carbon is None:
            return []
        techniques = (*base.techniques, "adapter")
        return [
            replace(
                base,
                name=f"{base.name} with adapters",
                techniques=techniques,
                making_usd=made.cost.usd.value,
                making_kgco2e=made.carbon.total_kgco2e.value,
            )
        ]
    return []


def _explain(compared: Comparison, job: ServingJob, ledger: Ledger) -> None:
    if job.dealt and job.engine != dealing.MEASURED:
        ledger.warn("serving-dealing-not-measured", mapping.DEALING_NOT_MEASURED)
    levels = {fleet.at_peak.level for one in compared.options for fleet in one.fleets}
    for level in sorted(levels - {"pair"}):
        ledger.warn(f"serving-not-calibrated-{level}", mapping.LEVELS[level])
    if any(not _pass_measured(one) for one in compared.options):
        ledger.warn("encoder-not-measured", encoders.NOT_MEASURED)
    if compared.experiment is None:
        message = (
            "no other option carries the load, so there is none to try: name others in formats or "
            "candidates, or allow more devices or time"
        )
        ledger.warn("nothing-to-try", message)
    if not any(one.quality.measured_on_task for one in compared.options[1:]):
        message = "no alternative was measured on this task at this size: measure before deciding"
        ledger.warn("quality-not-measured", message)


def _pass_measured(option: Option) -> bool:
    candidate = option.candidate
    return option.generates or encoding.measured(candidate.engine, candidate.weights)


def _sizes(
    body: AlternativesRequest,
    network: Network,
    around: Surroundings,
    job: ServingJob,
    snapshot: Snapshot,
    ledger: Ledger,
) -> list[SizeRung]:
    """The model, a half and a quarter of it, where a scaling law speaks of its loss."""
    if not network.causal:
        ledger.warn("encoder-not-scaled", encoders.NO_LAW, "diminishing")
        return []
    return mapping.ladder(network, around, job, _trained_on(body, network, snapshot, ledger))


def _by_rate(compared: Comparison, need: Need) -> list[AtRate]:
    rate = need.traffic.requests_per_second
    return [
        AtRate(rate_factor=factor, requests_per_second=rate * factor, fewest_devices=list(names))
        for factor, names in compared.cheapest_by_rate
    ]


def _by_output(compared: Comparison, need: Need) -> list[AtOutputLength]:
    return [
        AtOutputLength(
            output_factor=factor,
            output_tokens=at_length(need, factor).output_tokens,
            fewest_devices=list(names),
        )
        for factor, names in compared.cheapest_by_output
    ]


def _by_price(compared: Comparison, need: Need, months: float) -> list[AtPrice]:
    now = compared.options[0].usd_per_month
    return [
        AtPrice(
            price_factor=factor,
            usd_per_device_hour=need.usd_per_device_hour * factor,
            usd_per_month_in_use=None if now is None else now.value * factor,
            cheapest_over_horizon=list(cheapest_over(compared.options, months, factor)),
        )
        for factor in PRICE_FACTORS
    ]


def _trained_on(
    body: AlternativesRequest, network: Network, snapshot: Snapshot, ledger: Ledger
) -> float:
    """Tokens that the model in use was trained on: stated, of the catalog, or compute-optimal."""
    stated = body.training_tokens
    spec = body.request.model
    if stated is None and isinstance(spec, CatalogModel):
        stated = getattr(snapshot.get("models", spec.name).payload, "training_tokens", None)
    return mapping.tokens_or_optimal(stated, network, ledger)
