"""/places: one job in every place that it can be rented in, ranked by money, carbon and hours.

The job is resolved once for each accelerator and number of devices; all places and prices of
all of them are then one call of the core on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.api.place_models import LeftOut, PlacesRequest, PlacesResponse
from service.api.placing_jobs import Choice, UnsuitableError, jobs
from service.api.placing_offers import Offer, accelerators_of, offers, regions_of
from service.api.placing_ranks import CARBON, HOURS, MONEY, rank
from service.api.problems import ProblemError, at
from service.api.provenance import provenance
from service.api.request_models import SafetensorsModel
from service.api.request_workloads import InferenceWorkload
from service.api.requests import Pricing
from service.api.resolve import models, prices
from service.api.resolve.accounting import accounting
from service.api.resolve.ledger import Ledger
from service.api.resolve.models import Model, Size
from service.catalog.snapshot import Snapshot
from service.core import parameters

MOST_OPTIONS = 5_000
MOST_JOBS = 200
"""Accelerators times numbers of devices, each of which seeks a layout."""


def answer(body: PlacesRequest, snapshot: Snapshot) -> PlacesResponse:
    """The ranked places. Raises ProblemError."""
    ledger = Ledger()
    inner = body.request
    _check(body)
    if inner.as_of:
        snapshot = snapshot.as_of(inner.as_of)
    model = _model(body, snapshot, ledger)
    names = accelerators_of(body, snapshot)
    if len(names) * len(body.devices or [1]) > MOST_JOBS:
        detail = f"more than {MOST_JOBS} accelerators times numbers of devices; name fewer"
        raise at("too-much-work", "/accelerators", detail)
    found = offers(body, snapshot, names, prices.day_of(inner.as_of, snapshot))
    choices, left_out = _choices(body, model, found, names, snapshot, ledger)
    counted = accounting(inner.accounting, ledger)
    ranked = rank(choices, counted, body)
    return PlacesResponse(
        considered=len(choices),
        options=ranked.first(body.limit) if ranked else [],
        cheapest=ranked and ranked.best(MONEY),
        cleanest=ranked and ranked.best(CARBON),
        fastest=ranked and ranked.best(HOURS),
        left_out=left_out,
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot, ledger.runs),
    )


def _check(body: PlacesRequest) -> None:
    """Refuse what is sought itself, and what cannot be ranked."""
    inner = body.request
    if inner.site is not None:
        raise at("invalid-request", "/request/site", "leave site out: the place is what is sought")
    if isinstance(inner.workload, InferenceWorkload):
        detail = "places are ranked for training; send a training workload"
        raise at("invalid-request", "/request/workload", detail)
    priced = inner.pricing
    if priced is not None and priced != Pricing(usd_per_device_hour=priced.usd_per_device_hour):
        detail = "only usd_per_device_hour may be given here; providers, regions and terms stand "
        raise at("invalid-request", "/request/pricing", detail + "beside the request")


def _model(body: PlacesRequest, snapshot: Snapshot, ledger: Ledger) -> Model:
    model = models.resolve(snapshot, body.request.model, ledger)
    if isinstance(body.request.model, SafetensorsModel) and not isinstance(model, Size):
        counts = parameters.count(model)
        return Size(counts.total, round(counts.active))
    return model


def _choices(
    body: PlacesRequest,
    model: Model,
    found: Sequence[Offer],
    names: Sequence[str],
    snapshot: Snapshot,
    ledger: Ledger,
) -> tuple[list[Choice], list[LeftOut]]:
    """Every job at every offer of its accelerator, and what was asked for in vain."""
    left_out = _unpriced(body, found, names, snapshot)
    choices: list[Choice] = []
    for name in dict.fromkeys(offer.accelerator for offer in found):
        some = [offer for offer in found if offer.accelerator == name]
        try:
            choices += jobs(body, model, some, snapshot, Ledger() if choices else ledger)
        except (UnsuitableError, ProblemError) as problem:
            left_out.append(LeftOut(name=name, reason=str(problem)))
    if len(choices) > MOST_OPTIONS:
        detail = f"{len(choices):,} options are more than {MOST_OPTIONS:,}; try fewer devices"
        raise at("too-much-work", "/devices", detail)
    return choices, left_out


def _unpriced(
    body: PlacesRequest, found: Sequence[Offer], names: Sequence[str], snapshot: Snapshot
) -> list[LeftOut]:
    """Regions and accelerators that were asked for and have no price of the terms."""
    terms = " or ".join(body.terms)
    regions = [fact.name for fact in regions_of(body, snapshot)]
    priced = {offer.region for offer in found} | {offer.accelerator for offer in found}
    return [
        LeftOut(name=name, reason=f"the catalog has no {terms} price for it")
        for name in (*regions, *names)
        if name not in priced
    ]
