"""What serving costs: money, energy and carbon for a million output tokens.

A replica is paid and draws power whether it is busy or not: `utilization` is the share of its
capacity that is really asked for, and every figure here is at that share.
"""

from __future__ import annotations

from service.core import energy
from service.core.hardware import Accelerator
from service.core.numeric import Number, minimum
from service.core.serving.composition import ServingEstimate
from service.core.serving.tables import compute_format
from service.core.uncertainty import Interval, product

JOULES_PER_KWH = 3.6e6


def usd_per_million_output_tokens(
    estimate: ServingEstimate, usd_per_device_hour: Number, utilization: Number = 1.0
) -> Interval:
    """`price * devices * 1e6 / (3600 * throughput * utilization)`; USD."""
    dollars = usd_per_device_hour * estimate.devices * 1e6 / 3600.0
    return estimate.output_tokens_per_second.times(utilization).inverse(dollars)


def watts_per_device(
    estimate: ServingEstimate, accelerator: Accelerator, weights: str, utilization: Number = 1.0
) -> Interval:
    """Mean draw of a device and its share of the node; W. Idle capacity draws idle power."""
    envelope = energy.power_envelope(
        accelerator.name, accelerator.tdp_watts, accelerator.idle_watts
    )
    reached = estimate.model_flops_utilization
    ratio = estimate.output_tokens_per_second
    busy = Interval(
        reached,
        minimum(reached * ratio.low / ratio.value, 1.0),
        minimum(reached * ratio.high / ratio.value, 1.0),
    )
    loaded = energy.device_watts(
        envelope,
        busy,
        energy.power_slope(compute_format(weights)),
        bandwidth_share=estimate.bandwidth_utilization,
    )
    idle = (1.0 - utilization) * (envelope.idle_watts + envelope.host_watts)
    return loaded.times(utilization).plus(idle)


def joules_per_output_token(
    estimate: ServingEstimate,
    accelerator: Accelerator,
    weights: str,
    pue: Number = 1.0,
    utilization: Number = 1.0,
) -> Interval:
    """Energy of one output token, its share of the prompt and of idle time included; J."""
    watts = watts_per_device(estimate, accelerator, weights, utilization)
    seconds = estimate.output_tokens_per_second.times(utilization).inverse()
    return product(watts, seconds).times(estimate.devices * pue)


def kgco2e_per_million_output_tokens(joules: Interval, grid_gco2e_per_kwh: Number) -> Interval:
    """Operational emissions from the energy of one token; kgCO2e."""
    return joules.times(1e6 / JOULES_PER_KWH * grid_gco2e_per_kwh / 1e3)
