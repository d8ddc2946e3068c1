"""What device-hours come to in a place: money, energy, carbon and water from one description."""

from __future__ import annotations

from typing import NamedTuple

from service.core.carbon import (
    LIFETIME_UTILIZATION,
    LIFETIME_YEARS,
    Operational,
    Water,
    embodied_kgco2e,
    operational,
    water,
)
from service.core.cost import cost_usd
from service.core.energy import EnergyParts, PowerEnvelope, training_energy
from service.core.numeric import Number
from service.core.uncertainty import Interval, added

SERVER_SHARE_KGCO2E = Interval(160.0, 60.0, 560.0)
"""One accelerator's share of making the rest of its server; kgCO2e, by method. Central:
BoaviztAPI 2.5.0's p4d.24xlarge (5,600 kg) less its eight cards, over eight; low: cloud-carbon-
footprint's 1,000 kg a server with memory, over eight and halved; high: EcoLogits' 5,700 kg less
its cards' 1,200 kg, over eight."""


class Site(NamedTuple):
    """Where the job runs; gCO2e/kWh and litres/kWh. None where no factor is known."""

    grid: Number
    pue: Number
    market: Number | None = None
    marginal: Number | None = None
    wue: Number | None = None
    grid_water: Number | None = None
    """Litres that the power plants consume for a kWh."""


class Accounting(NamedTuple):
    """What is counted beside the run itself, and how its hardware is written off."""

    programme_factor: Number = 1.0
    """Energy, carbon and water of the runs around this one over its own."""
    idle_device_hours: Number = 0.0
    """Reserved for the job and unused: they cost money, idle power and a share of the making."""
    lifetime_years: Number = LIFETIME_YEARS
    lifetime_utilization: Number = LIFETIME_UTILIZATION


ALONE = Accounting()
"""The run by itself."""


class Draw(NamedTuple):
    """How the devices draw power while the job runs, and what making one of them emitted."""

    envelope: PowerEnvelope
    utilization: Interval
    """Share of the dense peak that the arithmetic units reach, recomputation included."""
    slope: Number
    card_kgco2e: Interval
    compute_share: Number = 1.0
    residual: Interval | None = None


class Spending(NamedTuple):
    """Money, energy, carbon and water of a job; floats or arrays."""

    usd: Interval
    energy: EnergyParts
    operational: Operational
    embodied_kgco2e: Interval
    total_kgco2e: Interval
    """Location-based and embodied."""
    water: Water


def spending(
    hours: Interval,
    draw: Draw,
    site: Site,
    usd_per_device_hour: Number,
    accounting: Accounting = ALONE,
) -> Spending:
    """The spending of device-hours; floats or arrays.

    The programme factor multiplies energy, carbon and water; money stays that of this run.
    """
    idle, factor = accounting.idle_device_hours, accounting.programme_factor
    used = training_energy(
        hours,
        draw.envelope,
        draw.utilization,
        draw.slope,
        site.pue,
        draw.compute_share,
        idle_device_hours=idle,
        programme_factor=factor,
        residual=draw.residual,
    )
    emitted = operational(used.total_kwh, site.grid, site.market, site.marginal)
    made = embodied_kgco2e(
        (hours.value + idle) * factor,
        draw.card_kgco2e,
        SERVER_SHARE_KGCO2E,
        accounting.lifetime_years,
        accounting.lifetime_utilization,
    )
    return Spending(
        usd=cost_usd(hours.plus(idle), usd_per_device_hour),
        energy=used,
        operational=emitted,
        embodied_kgco2e=made,
        total_kgco2e=added(emitted.location_kgco2e, made),
        water=water(used.it_kwh, used.total_kwh, site.wue, site.grid_water),
    )
