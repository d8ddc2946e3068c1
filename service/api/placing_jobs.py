"""The job of /places on each accelerator: how many devices, how long, and how they draw power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Literal, NamedTuple

from service.api import calibrating, estimating_size, mapping
from service.api.evaluating import prepared
from service.api.place_models import PlacesRequest
from service.api.placing_offers import Offer
from service.api.problems import ProblemError
from service.api.requests import EstimateRequest, Hardware
from service.api.resolve import places, training
from service.api.resolve.ledger import Ledger
from service.api.resolve.models import Model, Size
from service.catalog.snapshot import Snapshot
from service.core import estimate as core
from service.core.hardware import Accelerator
from service.core.spending import Draw, Site
from service.core.uncertainty import Interval

MOST_DEVICES = 65_536


class Job(NamedTuple):
    """The job on some devices, wherever they stand."""

    accelerator: str
    devices: int
    wall_clock_hours: Interval
    device_hours: Interval
    draw: Draw
    admission: Literal["fits", "at_risk"] | None


class Choice(NamedTuple):
    """A job at an offer, in whole instances."""

    job: Job
    offer: Offer

    @property
    def rented(self) -> int:
        """Devices that have to be rented."""
        together = self.offer.together
        return -(-self.job.devices // together) * together

    @property
    def usd_per_device_hour(self) -> float:
        """The price of a used device-hour: devices that come along unused are paid for."""
        return self.offer.price.usd_per_device_hour * self.rented / self.job.devices

    @property
    def site(self) -> Site:
        """The place as the core takes it."""
        found = self.offer.site
        market, marginal, wue = (
            None if figure is None else figure.value
            for figure in (found.market, found.marginal, found.wue)
        )
        return Site(found.grid.value, found.pue.value, market, marginal, wue)


class UnsuitableError(Exception):
    """The accelerator cannot do the job; the message says why."""


def jobs(
    body: PlacesRequest,
    model: Model,
    found: Sequence[Offer],
    snapshot: Snapshot,
    ledger: Ledger,
) -> list[Choice]:
    """The job at every offer of one accelerator. Raises UnsuitableError and ProblemError."""
    name = found[0].accelerator
    accelerator = places.accelerator(snapshot, name, ledger)
    given = body.request.hardware.count if body.request.hardware else None
    counts = body.devices or ([given] if given else None)

    def on(count: int | None) -> Job:
        hardware = Hardware(accelerator=name, count=count)
        request = body.request.model_copy(update={"hardware": hardware})
        if isinstance(model, Size):
            return _of_size(body, request, model, accelerator, ledger)
        job = training.resolve(model, request, accelerator, ledger)
        own = calibrating.correcting(snapshot, request.cluster, ledger)(job)
        return _of_estimate(name, job, prepared(job, own))

    if counts is not None:
        some = _those_that_work(counts, on)
        return [Choice(job, offer) for job in some for offer in found]
    fewest = _until(body.deadline_hours, on)
    sizes = {offer.together for offer in found}
    filled = {together: _filled(fewest, together, on) for together in sizes}
    return [Choice(filled[offer.together], offer) for offer in found]


def _those_that_work(counts: Sequence[int], on: Callable[[int | None], Job]) -> list[Job]:
    some, reason = [], ""
    for count in counts:
        try:
            some.append(on(count))
        except (UnsuitableError, ProblemError) as problem:
            reason = str(problem)
    if not some:
        raise UnsuitableError(reason)
    return some


def _until(deadline_hours: float | None, on: Callable[[int | None], Job]) -> Job:
    """The fewest devices, doubled while the job is late and more devices can be used."""
    found = on(None)
    while deadline_hours is not None and found.wall_clock_hours.value > deadline_hours:
        more = _tried(found.devices * 2, on)
        if more is None:
            break
        found = more
    return found


def _filled(job: Job, together: int, on: Callable[[int | None], Job]) -> Job:
    """The job on all devices of the instances that it needs anyway, where it can use them."""
    whole = -(-job.devices // together) * together
    return job if whole == job.devices else _tried(whole, on) or job


def _tried(devices: int, on: Callable[[int | None], Job]) -> Job | None:
    if devices > MOST_DEVICES:
        return None
    try:
        return on(devices)
    except (UnsuitableError, ProblemError):
        return None


def _of_estimate(name: str, job: training.TrainingJob, ready: core.Prepared) -> Job:
    found = core.evaluate(ready, job.layout, job.tokens, Site(0.0, 1.0), 0.0)
    verdict = mapping.admission(found.admission)
    if verdict == "does_not_fit":
        raise UnsuitableError(f"does not fit on {int(job.layout.devices)} devices")
    return Job(
        name,
        int(job.layout.devices),
        found.wall_clock_seconds.times(1.0 / 3600.0),
        found.device_hours,
        found.draw,
        verdict,
    )


def _of_size(
    body: PlacesRequest,
    request: EstimateRequest,
    size: Size,
    accelerator: Accelerator,
    ledger: Ledger,
) -> Job:
    """From a size alone: as many devices as the deadline needs, or one node."""
    _, hours, draw = estimating_size.running(request, size, accelerator, ledger)
    count = request.hardware.count if request.hardware else None
    if count is None:
        limit = body.deadline_hours
        count = ceil(hours.value / limit) if limit else accelerator.devices_per_node
    return Job(accelerator.name, count, hours.times(1.0 / count), hours, draw, None)
