"""The fleet that carries an inference workload's load, and what its tokens cost."""

from __future__ import annotations

from dataclasses import replace

from service.api.mapping import predicted
from service.api.request_serving import LatencySpec, LoadSpec
from service.api.resolve.places import Place
from service.api.serving_models import FleetSection
from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.serving import ServingJob
from service.core.serving.economics import kgco2e_per_million_output_tokens, watts_per_device
from service.core.serving.fleet import Fleet, Target, Traffic, Unservable, fewest_devices
from service.core.uncertainty import Interval


def fleet(
    load: LoadSpec,
    network: Network,
    accelerator: Accelerator,
    job: ServingJob,
    place: Place,
    usd_per_device_hour: float | None,
) -> FleetSection:
    """The smallest fleet under the limits: at the upper ends of the intervals, else the centres."""
    limits = load.latency or LatencySpec()
    target = Target(limits.seconds_per_token, limits.first_token_seconds, limits.request_seconds)
    traffic = Traffic(load.requests_per_second, load.peak_to_mean)
    fits, found = "fits", fewest_devices(network, accelerator, job, traffic, target)
    if isinstance(found, Unservable):
        fits = "at_risk"
        found = fewest_devices(network, accelerator, job, traffic, replace(target, cautious=False))
    if isinstance(found, Unservable):
        return FleetSection(fits="does_not_fit", reason=found.limit or found.reason)
    rate = load.requests_per_second * float(job.output_tokens)
    joules = _watts(found, accelerator, job).times(found.devices * place.pue / rate)
    usd = usd_per_device_hour
    return FleetSection(
        fits=fits,
        reason=None,
        devices=found.devices,
        replicas=found.replicas,
        tensor=found.stage_devices,
        pipeline=found.pipeline,
        attention_data_parallel=found.data > 1,
        capacity_requests_per_second=found.capacity_requests_per_second,
        utilization=found.utilization,
        concurrency_at_peak=float(found.at_peak.batch),
        decode_seconds_per_token=predicted(found.at_peak.decode_seconds_per_token),
        first_token_seconds=predicted(found.at_peak.first_token_seconds),
        usd_per_million_output_tokens=None
        if usd is None
        else usd * found.devices / 3600.0 / rate * 1e6,
        joules_per_output_token=predicted(joules),
        kgco2e_per_million_output_tokens=predicted(
            kgco2e_per_million_output_tokens(joules, place.grid)
        ),
    )


def _watts(found: Fleet, accelerator: Accelerator, job: ServingJob) -> Interval:
    """Mean draw of a device at the average rate."""
    return watts_per_device(found.at_mean, accelerator, job.weights, min(found.utilization, 1.0))
