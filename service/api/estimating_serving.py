"""An inference workload: resolved, asked of the core, and put into sections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.api import fleets, levers, limits, mapping, mapping_serving, storing, verdicts
from service.api.problems import at
from service.api.request_workloads import InferenceWorkload
from service.api.requests import EstimateRequest
from service.api.resolve import defaults, drafts, places, replicas
from service.api.resolve.defaults import WHY
from service.api.resolve.ledger import Ledger
from service.api.resolve.surroundings import Surroundings, surroundings
from service.api.responses import Change, ComputeSection, VerdictSection
from service.api.serving_models import FleetSection
from service.catalog.snapshot import Snapshot
from service.core import kv_cache, parameters
from service.core.architecture.network import Network
from service.core.compute import table as compute_table
from service.core.estimate import FITS, admission
from service.core.hardware import Accelerator
from service.core.numeric import Number
from service.core.serving import Draft, calibration, dealing, economics
from service.core.serving.composition import ServingEstimate, ServingJob, estimate
from service.core.uncertainty import Interval
from service.core.weight_formats import UnknownFormat

LEVELS = {
    "engine": "this engine was measured on other accelerators only: the intervals are wider",
    "none": "neither this accelerator nor this engine was measured: the intervals are widest",
}
"""What is said where a pair of accelerator and engine is not calibrated."""
DEALING_NOT_MEASURED = (
    "attention data parallelism was measured under TensorRT-LLM only: what it costs this engine is "
    "taken from there, and the intervals do not cover that"
)
FORMAT_NOT_MEASURED = (
    "this engine was not measured with weights of this kind, whose kernels may be slower than "
    "their bytes: the intervals are wider"
)


def sections(
    request: EstimateRequest, network: Network, snapshot: Snapshot, ledger: Ledger
) -> dict[str, Any]:
    """The sections of a serving job."""
    workload = request.workload
    assert isinstance(workload, InferenceWorkload)
    around = surroundings(snapshot, request, ledger)
    counts = parameters.count(network)
    found: dict[str, Any] = {
        "parameters": mapping.parameters(
            counts, 0, storing.by_format(request.model, network, ledger)
        ),
        "compute": _compute(network, workload),
    }
    if not (network.causal and network.tokens):
        message = "serving is answered for models that generate text; encoders in /alternatives"
        ledger.warn("serving-not-generative", message, "serving", "memory", "verdict", "layout")
        return found
    draft = drafts.draft(workload.draft, network, snapshot, ledger)
    job, answer = answered(request, network, around.accelerator, draft, ledger)
    _explain(job, answer, ledger)
    return (
        found
        | told(request, network, around, job, answer)
        | {"verdict": _verdict(request, network, around, (job, answer), ledger)}
    )


def told(
    request: EstimateRequest,
    network: Network,
    around: Surroundings,
    job: ServingJob,
    answer: ServingEstimate,
) -> dict[str, Any]:
    """The sections that say what a replica holds and does, without a verdict."""
    workload = request.workload
    assert isinstance(workload, InferenceWorkload)
    accelerator, place, usd = around.accelerator, around.place, around.usd_per_device_hour
    return {
        "memory": mapping_serving.memory(answer, peak(answer)),
        "serving": mapping_serving.serving(
            answer,
            None if usd is None else economics.usd_per_million_output_tokens(answer, usd),
            economics.joules_per_output_token(answer, accelerator, job.weights, place.pue),
            place.grid,
            _fleet(workload, network, accelerator, job, place, usd),
        ),
        "layout": mapping.layout(replicas.layout(job)).model_copy(
            update={"attention_data_parallel": job.data > 1}
        ),
    }


def _explain(job: ServingJob, answer: ServingEstimate, ledger: Ledger) -> None:
    if answer.level != "pair":
        ledger.warn(f"serving-not-calibrated-{answer.level}", LEVELS[answer.level])
    if not answer.formats_measured:
        ledger.warn("serving-format-not-measured", FORMAT_NOT_MEASURED)
    if job.data > 1 and job.engine != dealing.MEASURED:
        ledger.warn("serving-dealing-not-measured", DEALING_NOT_MEASURED)
    if answer.drafting is not None and answer.drafting.speed_ratio < 1.0:
        ledger.warn("draft-does-not-pay", "at this acceptance and load the draft costs time")


def _fleet(
    workload: InferenceWorkload,
    network: Network,
    accelerator: Accelerator,
    job: ServingJob,
    place: places.Place,
    usd_per_device_hour: float | None,
) -> FleetSection | None:
    if workload.load is None:
        return None
    return fleets.fleet(workload.load, network, accelerator, job, place, usd_per_device_hour)


def _compute(network: Network, workload: InferenceWorkload) -> ComputeSection:
    if not network.tokens:
        return ComputeSection(forward_flops_per_token=compute_table(network).forward(1.0))
    length = float(workload.prompt_tokens or defaults.PROMPT_TOKENS)
    return ComputeSection(forward_flops_per_token=compute_table(network).forward(length) / length)


def answered(
    request: EstimateRequest,
    network: Network,
    accelerator: Accelerator,
    draft: Draft | None,
    ledger: Ledger,
) -> tuple[ServingJob, ServingEstimate]:
    """The job on the given devices, or on the fewest on which it fits."""
    assert isinstance(request.workload, InferenceWorkload)
    job = replace(job_of(request, network, request.workload, ledger), draft=draft)
    if draft is not None and draft.network is not None:
        _check_cache(draft.network, job.cache)
    given = _is_given(request)
    spreads = [job] if given else _spreads(network, accelerator, job)
    for job in spreads:
        try:
            job, answer = _fitting(network, accelerator, job)
        except UnknownFormat as error:
            raise at("invalid-request", "/workload/weights", str(error)) from None
        if _holds(answer):
            break
    if not given:
        ledger.assume("/hardware/count", int(answer.devices), "search", WHY["chosen"])
    replicas.tell(network, job, ledger)
    return job, answer


def _fitting(
    network: Network, accelerator: Accelerator, job: ServingJob
) -> tuple[ServingJob, ServingEstimate]:
    """The job and its answer; divided over its devices where, unasked, only that fits."""
    ways = dealing.unasked(network, job)
    found = [(way, estimate(network, accelerator, way)) for way in ways]
    return next((each for each in found if _holds(each[1])), found[0])


def _holds(answer: ServingEstimate) -> bool:
    return bool(answer.memory.peak_bytes <= answer.capacity_bytes)


def _is_given(request: EstimateRequest) -> bool:
    counted = bool(request.hardware and request.hardware.count)
    return counted or not replicas.is_open(request.layout)


def _ways(network: Network, accelerator: Accelerator) -> list[int]:
    """Tensor ways inside a node that divide the heads."""
    node = min(accelerator.devices_per_node, 64)
    powers = [1 << i for i in range(7) if 1 << i <= node]
    return [way for way in powers if all(count % way == 0 for count in network.heads())]


def _spreads(network: Network, accelerator: Accelerator, job: ServingJob) -> list[ServingJob]:
    """The job on more and more devices of a stage, or of each of its groups where it has such."""
    ways = _ways(network, accelerator)
    if job.data > 1 and job.tensor > 1:
        return [replace(job, tensor=float(way)) for way in ways]
    able = (way for way in ways if not dealing.refused(network, job, way))
    return [dealing.spread(network, job, way) for way in able]


def job_of(
    request: EstimateRequest, network: Network, workload: InferenceWorkload, ledger: Ledger
) -> ServingJob:
    """The serving job of a workload, its defaults entered in the ledger."""
    cache = ledger.choose("/workload/kv_cache", workload.kv_cache, "bf16", WHY["kv_cache"])
    _check_cache(network, cache)
    prompt, output = _lengths(workload, network, ledger)
    job = ServingJob(
        weights=storing.weights_to_serve(network, workload.weights, ledger),
        cache=cache,
        engine=ledger.choose("/workload/engine", workload.engine, "vllm", WHY["engine"]),
        concurrency=float(
            ledger.choose("/workload/concurrency", workload.concurrency, 1, WHY["concurrency"])
        ),
        prompt_tokens=float(prompt),
        output_tokens=float(output),
        longest_tokens=workload.longest_tokens and float(workload.longest_tokens),
        cached_prefix=float(workload.cached_prefix_tokens or 0),
    )
    return replicas.spread(request, network, job)


def _check_cache(network: Network, cache: str) -> None:
    try:
        kv_cache.table(network, cache)
    except kv_cache.UnknownCacheFormat as error:
        raise at("invalid-request", "/workload/kv_cache", str(error)) from None


def _lengths(workload: InferenceWorkload, network: Network, ledger: Ledger) -> tuple[int, int]:
    """Mean tokens of a prompt and of an output; what is said beside them has to agree."""
    asked, why = workload.prompt_tokens, WHY["lengths"]
    prompt = ledger.choose("/workload/prompt_tokens", asked, defaults.PROMPT_TOKENS, why)
    asked = workload.output_tokens
    output = ledger.choose("/workload/output_tokens", asked, defaults.OUTPUT_TOKENS, why)
    if workload.longest_tokens is not None and workload.longest_tokens < prompt + output:
        detail = f"the longest request has at least the mean's {prompt + output} tokens"
        raise at("invalid-request", "/workload/longest_tokens", detail)
    longest = workload.longest_tokens or prompt + output
    if not network.reads(longest):
        detail = f"{longest} tokens are beyond the model's limit of {network.sequence_limit}"
        ledger.warn("sequence-beyond-limit", detail)
    if (workload.cached_prefix_tokens or 0) >= prompt:
        detail = f"at least one of the prompt's {prompt} tokens is not in the cache"
        raise at("invalid-request", "/workload/cached_prefix_tokens", detail)
    return prompt, output


def peak(answer: ServingEstimate) -> Interval:
    """Bytes that the job needs on one device."""
    return calibration.peak(answer.memory.peak_bytes, answer.memory.prompt_bytes)


def _verdict(
    request: EstimateRequest,
    network: Network,
    around: Surroundings,
    found: tuple[ServingJob, ServingEstimate],
    ledger: Ledger,
) -> VerdictSection:
    job, answer = found
    workload = request.workload
    assert isinstance(workload, InferenceWorkload)
    accelerator, usd = around.accelerator, around.usd_per_device_hour
    now, node = _outcome(answer, usd), accelerator.devices_per_node

    def attempt(changed: EstimateRequest) -> verdicts.Outcome:
        assert isinstance(changed.workload, InferenceWorkload)
        draft = job.draft if changed.workload.draft else None
        _, after = answered(changed, network, accelerator, draft, Ledger())
        return _outcome(after, usd)

    changes: list[Change] = []
    if now.admission != FITS:
        changes = verdicts.smallest_changes(
            request,
            now,
            attempt,
            levers.of_serving(request, workload, job, node),
            lambda: levers.serving_together(request, workload, job, node),
            ledger,
        )
    parts = {"parameters": answer.memory.weights_bytes, "kv_cache": answer.memory.cache_bytes}
    return VerdictSection(
        admission=mapping.admission(now.admission),
        limited_by=max(parts, key=lambda name: parts[name]),
        margin_bytes=float(answer.capacity_bytes - now.peak_bytes.value),
        smallest_changes=changes,
        **_limits(request, network, accelerator, found, ledger)._asdict(),
    )


def _limits(
    request: EstimateRequest,
    network: Network,
    accelerator: Accelerator,
    found: tuple[ServingJob, ServingEstimate],
    ledger: Ledger,
) -> limits.Limits:
    def fits(job: ServingJob) -> Number:
        answer = estimate(network, accelerator, job)
        return admission(peak(answer), answer.capacity_bytes) == FITS

    job, answer = found
    if not limits.wanted(request, _outcome(answer, None).admission == FITS):
        return limits.Limits()
    spreads = _spreads(network, accelerator, job)
    ways = [way for spread in spreads for way in dealing.unasked(network, spread)]
    return limits.of_serving(job, ways, fits, ledger)


def _outcome(answer: ServingEstimate, usd_per_device_hour: float | None) -> verdicts.Outcome:
    held, speed = peak(answer), answer.output_tokens_per_second.value
    hours = float(answer.devices / speed / 3600.0)
    return verdicts.Outcome(
        int(admission(held, answer.capacity_bytes)),
        held,
        float(answer.decode_seconds_per_token.value),
        hours,
        None if usd_per_device_hour is None else hours * 1e6 * usd_per_device_hour,
    )
