"""Energy of a job: what its devices draw, what stands around them, and the building.

Accelerator power follows utilisation along a curve that saturates, because a device that is busy
a third of the time at the arithmetic units is already near its limit. The curve is fitted on
441,990 timed kernels and then predicts, without further fitting, the power that training runs
were measured at. Coefficients: `calibration_data/energy.json`, written by
`service/calibration/energy.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.numeric import Number, exp, maximum, minimum
from service.core.uncertainty import Interval, product, relative

_FAMILIES: Mapping[str, str] = {
    "fp32": "16-bit",
    "tf32": "16-bit",
    "bf16": "16-bit",
    "fp16": "16-bit",
    "fp8": "8-bit",
    "int8": "8-bit",
    "fp4": "4-bit",
    "int4": "4-bit",
}


@cache
def document() -> Mapping[str, Any]:
    """The calibration file: coefficients, residuals, and what they were fitted on."""
    text = files("service.core").joinpath("calibration_data/energy.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def coefficient(name: str) -> float:
    """One fitted term by name. Raises `KeyError` for a name that the file lacks."""
    return float(document()["coefficients"][name]["value"])


def power_slope(number_format: str) -> float:
    """How fast power rises with utilisation of the format's dense peak.

    Narrow formats reach the limit at a smaller share of their (higher) peak.
    Raises `KeyError` for a format without a family.
    """
    return coefficient(f"slope_{_FAMILIES[number_format]}")


def accelerator_power_share(
    utilization: Number, slope: Number, bandwidth_share: Number | None = None
) -> Number:
    """The power of a busy accelerator as a share of its limit, 0 to 1.

    `f = i + (1 - i) (1 - exp(-(slope u + b m)))`, with `u` the share of the dense peak that the
    arithmetic units reach (recomputation counts) and `m` the share of memory bandwidth.
    Source: NVML power of timed GEMM kernels on H200, B200 and GB200 (NVIDIA aiconfigurator).
    """
    idle = coefficient("awake_share")
    memory = coefficient("typical_bandwidth_share") if bandwidth_share is None else bandwidth_share
    load = slope * utilization + coefficient("slope_bandwidth") * memory
    return idle + (1.0 - idle) * (1.0 - exp(-load))


def step_power_share(
    utilization: Number,
    slope: Number,
    compute_share: Number = 1.0,
    bandwidth_share: Number | None = None,
) -> Number:
    """Mean power over a step as a share of the limit, with waiting at its own power.

    `compute_share` is the share of the step that is not spent waiting for others (exposed
    communication, pipeline bubbles); `utilization` is the mean over the whole step.
    Source of the waiting power: kernels that keep the device awake below 2 % of its peak.
    """
    computing = maximum(compute_share, 1e-6)
    busy = accelerator_power_share(minimum(utilization / computing, 1.0), slope, bandwidth_share)
    return compute_share * busy + (1.0 - compute_share) * coefficient("waiting_share")


def host_watts(tdp_watts: Number) -> Number:
    """The rest of the node per device: CPUs, DRAM, NICs, fans, power supplies; W.

    A share of the device's TDP, linear between the two classes of node that were measured
    (V100: GPT-3 in Patterson et al. 2021; 8 H100: arXiv 2506.14551 and 2412.08602), constant
    outside of them.
    """
    small, large = coefficient("host_share_300w"), coefficient("host_share_700w")
    place = minimum(maximum((tdp_watts - 300.0) / 400.0, 0.0), 1.0)
    return tdp_watts * (small + (large - small) * place)


@dataclass(frozen=True)
class PowerEnvelope:
    """Between what an accelerator and its share of the node move; floats or arrays."""

    limit_watts: Number
    """What the device draws at full load."""
    idle_watts: Number
    """What it draws reserved but unused."""
    host_watts: Number
    """Its share of the rest of the node."""


def power_envelope(name: str, tdp_watts: float, idle_watts: float) -> PowerEnvelope:
    """The envelope of one accelerator, by its catalog name.

    TPUs up to v4 have measured ones, host included: their vendor limits are either far above
    what they draw (v2, v3) or for the bare chip (v4). All others follow from the TDP.
    """
    measured = document()["envelopes"].get(name)
    if measured is None:
        return PowerEnvelope(tdp_watts, idle_watts, host_watts(tdp_watts))
    return PowerEnvelope(float(measured["limit_watts"]), idle_watts, 0.0)


def typical_utilization() -> Interval:
    """FLOPs over device-hours at the dense peak in published runs: what to assume if unknown."""
    entry = document()["typical_utilization"]
    return Interval(entry["value"], entry["low"], entry["high"])


def device_watts(
    envelope: PowerEnvelope,
    utilization: Interval,
    slope: Number,
    compute_share: Number = 1.0,
    bandwidth_share: Number | None = None,
    residual: Interval | None = None,
) -> Interval:
    """IT power per device, its share of the node included, while the job runs; W.

    The interval joins the spread of the utilisation with the residuals of measured runs, or with
    a cluster's own `residual`.
    """
    value, low, high = (
        envelope.limit_watts * step_power_share(u, slope, compute_share, bandwidth_share)
        + envelope.host_watts
        for u in utilization
    )
    return product(Interval(value, low, high), residual or power_residual())


@cache
def power_residual() -> Interval:
    """Observed over predicted power of runs that the fit had not seen: value 1 and its bounds."""
    entry = document()["intervals"]["training_power"]
    return relative(1.0, entry["low"], entry["high"])


class EnergyParts(NamedTuple):
    """Where the energy of a job goes; kWh. The parts add up to `total_kwh.value`."""

    accelerators_kwh: Number
    host_kwh: Number
    network_storage_kwh: Number
    idle_reserved_kwh: Number
    building_kwh: Number
    """Cooling and power distribution: IT energy times (PUE - 1)."""
    programme_kwh: Number
    """Other runs that the programme factor stands for; 0 where the factor is 1."""
    it_kwh: Interval
    """All that the PUE multiplies, programme included: what WUE is counted on."""
    total_kwh: Interval


def training_energy(
    device_hours: Interval,
    envelope: PowerEnvelope,
    utilization: Interval,
    slope: Number,
    pue: Number,
    compute_share: Number = 1.0,
    bandwidth_share: Number | None = None,
    idle_device_hours: Number = 0.0,
    programme_factor: Number = 1.0,
    residual: Interval | None = None,
) -> EnergyParts:
    """Energy from device-hours and hardware; kWh. PUE is applied here, once.

    `idle_device_hours` are reserved and unused. `programme_factor` multiplies the job by the
    runs around it (failed runs, sweeps, post-training); 1 leaves them out. `residual`: observed
    over predicted power of a cluster's own runs, instead of that of measured runs in general.
    """
    it_watts = device_watts(envelope, utilization, slope, compute_share, bandwidth_share, residual)
    busy = product(device_hours, it_watts).times(1e-3 * (1.0 + coefficient("network_share")))
    idle = idle_device_hours * (envelope.idle_watts + envelope.host_watts) / 1e3
    run = busy.plus(idle)
    it = run.times(programme_factor)
    total = it.times(pue)
    host = device_hours.value * envelope.host_watts / 1e3
    accelerators = device_hours.value * it_watts.value / 1e3 - host
    return EnergyParts(
        accelerators_kwh=accelerators,
        host_kwh=host,
        network_storage_kwh=(accelerators + host) * coefficient("network_share"),
        idle_reserved_kwh=idle,
        building_kwh=run.value * (pue - 1.0),
        programme_kwh=run.value * pue * (programme_factor - 1.0),
        it_kwh=it,
        total_kwh=total,
    )


def reported_energy_kwh(device_hours: Number, watts: Number, pue: Number) -> Number:
    """Energy from a wattage that is given; kWh. How most model cards get theirs.

    A check of arithmetic, never of power: with the TDP as wattage it is circular.
    """
    return device_hours * watts * pue / 1e3
