"""The fewest devices, and the replicas, that serve a request rate within latency targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.serving import dealing
from service.core.serving.composition import ServingEstimate, ServingJob
from service.core.serving.encoding import estimate
from service.core.stacking import take

BATCHES = np.unique(np.round(np.geomspace(1.0, 4096.0, 120)))
"""Sequences in flight that are tried."""


@dataclass(frozen=True)
class Traffic:
    """What has to be served."""

    requests_per_second: float
    """On average."""
    peak_to_mean: float = 1.0
    """The rate that must still meet the targets, over the average."""
    headroom: float = 0.85
    """Share of a replica's capacity that the peak may take: arrivals are not evenly spaced."""

    @property
    def peak(self) -> float:
        """Requests a second that the fleet is sized for."""
        return self.requests_per_second * self.peak_to_mean


@dataclass(frozen=True)
class Target:
    """Upper limits; None where there is none."""

    seconds_per_token: float | None = None
    first_token_seconds: float | None = None
    request_seconds: float | None = None
    cautious: bool = True
    """Whether the upper end of the interval has to meet the limits, or the central value."""


@dataclass(frozen=True)
class Fleet:
    """A number of equal replicas."""

    replicas: int
    tensor: int
    pipeline: int
    data: int
    """Groups of `tensor` devices that the sequences of a replica are dealt to."""
    at_peak: ServingEstimate
    """One replica at the peak rate's concurrency."""
    at_mean: ServingEstimate
    """One replica at the average rate's concurrency."""
    capacity_requests_per_second: float
    """Of the fleet, at the largest concurrency that meets the targets."""
    utilization: float
    """Average rate over that capacity."""

    @property
    def devices(self) -> int:
        """All devices."""
        return self.replicas * self.stage_devices * self.pipeline

    @property
    def stage_devices(self) -> int:
        """Devices of one pipeline stage of a replica."""
        return self.tensor * self.data


@dataclass(frozen=True)
class Unservable:
    """Why no number of these devices serves the load."""

    reason: str
    """`weights` (a replica does not fit), `cache` (nor one sequence), `latency`."""
    limit: str = ""
    """For latency: which limit fails even for a single sequence."""


def fewest_devices(
    network: Network,
    accelerator: Accelerator,
    job: ServingJob,
    traffic: Traffic,
    target: Target,
) -> Fleet | Unservable:
    """The smallest fleet; among equals the one with the faster tokens.

    The job's concurrency and ways are replaced: the devices of a node, which divide a sequence or
    have sequences of their own (`dealing`), and pipeline stages where a node is too small. Raises
    what `estimate` raises.
    """
    fleets: list[Fleet] = []
    reasons: list[Unservable] = []
    for spread in _spreads(network, accelerator, job):
        found = _fleet(network, accelerator, spread, traffic, target)
        (fleets if isinstance(found, Fleet) else reasons).append(found)  # type: ignore[arg-type]
    if not fleets:
        return _furthest(reasons)
    return min(fleets, key=lambda f: (f.devices, f.at_peak.decode_seconds_per_token.value))


def _spreads(network: Network, accelerator: Accelerator, job: ServingJob) -> Iterator[ServingJob]:
    """Devices that divide the heads within a node; stages over nodes that are full."""
    heads = network.heads() or (1,)
    widest: list[ServingJob] = []
    for devices in (1, 2, 4, 8, 16, 32, 64):
        if devices <= accelerator.devices_per_node and all(h % devices == 0 for h in heads):
            found = dealing.tried(network, replace(job, pipeline=1.0), devices)
            widest = found or widest
            yield from found
    for pipeline in (2, 4, 8, 16):
        if pipeline <= network.layers:
            yield from (replace(spread, pipeline=float(pipeline)) for spread in widest)


def _fleet(
    network: Network,
    accelerator: Accelerator,
    job: ServingJob,
    traffic: Traffic,
    target: Target,
) -> Fleet | Unservable:
    """As many replicas as it takes, each spread as the job says."""
    tried = estimate(network, accelerator, replace(job, concurrency=BATCHES))
    single = take(tried, 0)
    if single.memory.weights_bytes + single.memory.reserved_bytes > single.capacity_bytes:
        return Unservable("weights")
    if single.mean_concurrency < 1:
        return Unservable("cache")
    limits = _limits(tried, job, target)
    allowed = np.logical_and.reduce([tried.mean_concurrency >= BATCHES, *limits.values()])
    if not allowed.any():
        failing = [name for name, met in limits.items() if not met[0]]
        return Unservable("latency", failing[0] if failing else "")
    rates = tried.requests_per_second.value
    capacity = float(rates[allowed].max())
    replicas = max(math.ceil(traffic.peak / (capacity * traffic.headroom) - 1e-9), 1)
    return Fleet(
        replicas,
        int(job.tensor),
        int(job.pipeline),
        int(job.data),
        _at(network, accelerator, job, rates, traffic.peak / replicas),
        _at(network, accelerator, job, rates, traffic.requests_per_second / replicas),
        capacity * replicas,
        traffic.requests_per_second / (capacity * replicas),
    )


def _limits(
    tried: ServingEstimate, job: ServingJob, target: Target
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Which batches meet each limit."""
    token, first = tried.decode_seconds_per_token, tried.first_token_seconds
    worst = target.cautious
    times = {
        "seconds_per_token": token.high if worst else token.value,
        "first_token_seconds": first.high if worst else first.value,
    }
    times["request_seconds"] = (
        times["first_token_seconds"] + times["seconds_per_token"] * job.output_tokens
    )
    limits = {name: getattr(target, name) for name in times}
    return {
        name: np.broadcast_to(times[name] <= limit, BATCHES.shape)
        for name, limit in limits.items()
        if limit is not None
    }


def _at(
    network: Network, accelerator: Accelerator, job: ServingJob, rates: object, wanted: float
) -> ServingEstimate:
    """A replica at the concurrency at which it serves the wanted rate (Little's law)."""
    rising = np.maximum.accumulate(np.asarray(rates))
    batch = float(np.interp(wanted, rising, BATCHES))
    return estimate(network, accelerator, replace(job, concurrency=max(batch, 1.0)))


def _furthest(reasons: Sequence[Unservable]) -> Unservable:
    """The reason that came closest to serving."""
    order = ("latency", "cache", "weights")
    return min(reasons, key=lambda found: order.index(found.reason))
