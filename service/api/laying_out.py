"""/layouts: every valid layout evaluated, the ones that nothing beats returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from service.api import mapping
from service.api.layout_models import (
    CapsSpec,
    LayoutOption,
    LayoutsRequest,
    LayoutsResponse,
    Neighbour,
)
from service.api.problems import at
from service.api.provenance import provenance
from service.api.request_workloads import InferenceWorkload
from service.api.resolve import models
from service.api.resolve.ledger import Ledger
from service.api.resolve.open_jobs import described
from service.api.resolve.surroundings import Surroundings, surroundings
from service.catalog.snapshot import Snapshot
from service.core.finetuning import Objective
from service.core.layout_choice import usual_space
from service.core.layout_neighbours import Neighbour as CoreNeighbour
from service.core.layout_neighbours import neighbours
from service.core.layout_space import Question, Space
from service.core.search import Caps, Found, Terms, search

MOST_LAYOUTS = 50
USUAL_DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def answer(request: LayoutsRequest, snapshot: Snapshot) -> LayoutsResponse:
    """The Pareto set under the caps. Raises ProblemError."""
    ledger = Ledger()
    inner = request.request
    if inner.layout is not None:
        raise at("invalid-request", "/request/layout", "leave layout out: it is what is sought")
    if isinstance(inner.workload, InferenceWorkload):
        detail = "layouts are sought for training; send a training workload"
        raise at("invalid-request", "/request/workload", detail)
    if inner.as_of:
        snapshot = snapshot.as_of(inner.as_of)
    network = models.architecture(snapshot, inner.model, ledger)
    if network is None:
        detail = "a layout needs an architecture, not a size or names of tensors"
        raise at("invalid-request", "/request/model", detail)
    around = surroundings(snapshot, inner, ledger)
    open_job = described(network, inner, around.accelerator, ledger)
    if open_job.question.objective != Objective():
        ledger.warn(
            "objective-time",
            "layouts are sought for the training of the policy alone; send the "
            "one you choose to /estimate for what the objective adds",
        )
    space = _space(request, open_job.question, open_job.micro_batch_size)
    caps = request.caps or CapsSpec()
    terms = _terms(request, open_job.tokens, around)
    priced = around.usd_per_device_hour is not None
    found = search(open_job.question, terms, space, _caps(caps), open_job.recomputations)
    chosen = list(found.pareto)[:MOST_LAYOUTS]
    return LayoutsResponse(
        considered=found.considered,
        fitting=found.fitting,
        allowed=len(found.objectives),
        layouts=[_option(found, index, priced) for index in chosen],
        neighbours=[_told(n) for n in neighbours(found, chosen[0])] if chosen else [],
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot),
    )


def _terms(request: LayoutsRequest, tokens: float, around: Surroundings) -> Terms:
    usd = around.usd_per_device_hour
    if usd is None and request.caps and request.caps.usd is not None:
        detail = "a cap on money needs a price; send request.pricing.usd_per_device_hour"
        raise at("unknown-price", "/request/pricing", detail)
    return Terms(tokens, around.place.site, usd or 0.0)


def _space(request: LayoutsRequest, question: Question, micro: int | None) -> Space:
    """The degrees that are tried: every ZeRO stage, the other ones as for a single estimate."""
    counts = tuple(sorted(set(_devices(request))))
    spaces = [usual_space(question, count) for count in counts]
    stages = {stage for space in spaces for stage in space.pipeline or ()}
    space = replace(
        spaces[-1], devices=counts, pipeline=tuple(sorted(stages)), zero_stage=(0, 1, 2, 3)
    )
    return space if micro is None else replace(space, micro_batch_size=(micro,))


def _devices(request: LayoutsRequest) -> Sequence[int]:
    given = request.request.hardware.count if request.request.hardware else None
    counts = request.devices or ([given] if given is not None else USUAL_DEVICES)
    most = (request.caps and request.caps.devices) or inf
    kept = [count for count in counts if count <= most]
    if not kept:
        raise at("invalid-request", "/devices", f"every number of devices is above the cap {most}")
    return kept


def _caps(spec: CapsSpec) -> Caps:
    return Caps(
        wall_clock_seconds=inf if spec.deadline_hours is None else spec.deadline_hours * 3600.0,
        usd=inf if spec.usd is None else spec.usd,
        kgco2e=inf if spec.kgco2e is None else spec.kgco2e,
        margin_bytes=spec.margin_bytes or 0.0,
        at_risk=spec.at_risk,
    )


def _option(found: Found, index: int, priced: bool) -> LayoutOption:
    layout, recomputation, estimate = found.at(index)
    return LayoutOption(
        layout=mapping.layout(layout),
        recomputation=recomputation,
        peak_bytes=mapping.predicted(estimate.peak_bytes),
        step_seconds=mapping.predicted(estimate.step_seconds),
        wall_clock_seconds=mapping.predicted(estimate.wall_clock_seconds),
        usd=mapping.predicted(estimate.spent.usd) if priced else None,
        total_kgco2e=mapping.predicted(estimate.spent.total_kgco2e),
    )


def _told(entry: CoreNeighbour) -> Neighbour:
    return Neighbour(
        change=entry.change,
        reason=entry.reason,
        step_seconds_ratio=entry.seconds_ratio,
        peak_bytes=entry.peak_bytes,
    )
