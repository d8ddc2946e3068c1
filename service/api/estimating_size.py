"""What can be said from a number of parameters alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from service.api import mapping, mapping_spending
from service.api.request_workloads import InferenceWorkload
from service.api.requests import EstimateRequest
from service.api.resolve import defaults
from service.api.resolve.accounting import accounting
from service.api.resolve.defaults import WHY
from service.api.resolve.ledger import Ledger
from service.api.resolve.models import Size
from service.api.resolve.surroundings import Surroundings, surroundings
from service.api.responses import ComputeSection, ParametersSection, TimeSection
from service.catalog.snapshot import Snapshot
from service.core import energy
from service.core.hardware import Accelerator
from service.core.scaling_laws.optimum import training_flops
from service.core.spending import Draw, spending
from service.core.uncertainty import Interval

FORMAT = "bf16"


def sections(
    request: EstimateRequest, size: Size, snapshot: Snapshot, ledger: Ledger
) -> dict[str, Any]:
    """The sections that a size answers; the others need an architecture."""
    ledger.warn(
        "size-only",
        "memory, step time, layout and verdict need an architecture: send a config, layers or a "
        "header, or the name of a catalogued model",
        *("memory", "serving", "verdict", "layout"),
    )
    found: dict[str, Any] = {
        "parameters": ParametersSection(
            total=size.parameters, active=size.active, trainable=None, by_component={}
        ),
        "compute": ComputeSection(forward_flops_per_token=2.0 * size.active),
    }
    if isinstance(request.workload, InferenceWorkload):
        return found
    around = surroundings(snapshot, request, ledger)
    job = running(request, size, around.accelerator, ledger)
    flops = training_flops(size.active, job.tokens)
    found["compute"] = ComputeSection(
        forward_flops_per_token=2.0 * size.active, training_flops=flops
    )
    found["compute_optimal"] = mapping.compute_optimal(size.active, job.tokens)
    return found | _spent(request, job, around, ledger)


class Running(NamedTuple):
    """Training at the utilisation of published runs."""

    tokens: float
    hours: Interval
    """Of all devices together."""
    draw: Draw


def running(
    request: EstimateRequest, size: Size, accelerator: Accelerator, ledger: Ledger
) -> Running:
    """How many device-hours the training takes, and how the devices draw power meanwhile."""
    given = None
    if request.workload is not None and not isinstance(request.workload, InferenceWorkload):
        given = request.workload.tokens
    tokens = ledger.choose(
        "/workload/tokens", given, defaults.TOKENS_PER_PARAMETER * size.active, WHY["tokens"]
    )
    utilization = energy.typical_utilization()
    ledger.assume(
        "/model", utilization.value, "calibration", "model-FLOPs utilisation of published runs"
    )
    flops = training_flops(size.active, tokens)
    hours = utilization.inverse(flops / accelerator.peak_for(FORMAT) / 3600.0)
    return Running(tokens, hours, _draw(accelerator, utilization))


def _draw(accelerator: Accelerator, utilization: Interval) -> Draw:
    low, central, high = accelerator.embodied_kgco2e
    return Draw(
        energy.power_envelope(accelerator.name, accelerator.tdp_watts, accelerator.idle_watts),
        utilization,
        energy.power_slope(FORMAT),
        Interval(central, low, high),
    )


def _spent(
    request: EstimateRequest, job: Running, around: Surroundings, ledger: Ledger
) -> dict[str, Any]:
    """Time, money and carbon of the device-hours."""
    hours, place = job.hours, around.place
    counted = accounting(request.accounting, ledger)
    usd = around.usd_per_device_hour or 0.0
    spent = spending(hours, job.draw, place.site, usd, counted)
    count = request.hardware.count if request.hardware else None
    wall = None if count is None else float(hours.value) / count
    return {
        "time": _time(hours, job.draw.utilization, count),
        "cost": mapping_spending.cost(spent, hours, around, request.pricing),
        "carbon": mapping_spending.carbon(
            spent,
            place,
            mapping_spending.unit_of(request.accounting, job.tokens, tokens=True),
            mapping_spending.start_time(spent, place, wall, ledger),
        ),
    }


def _time(hours: Interval, utilization: Interval, count: int | None) -> TimeSection:
    wall = None if count is None else hours.times(3600.0 / count)
    return TimeSection(
        model_flops_utilization=mapping.predicted(utilization),
        wall_clock_seconds=mapping.maybe(wall),
        device_hours=mapping.predicted(hours),
    )
