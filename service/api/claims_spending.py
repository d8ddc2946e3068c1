"""What device-hours of a claim come to: the energy, carbon and money that it may state.

Claims rarely say what they count. The bounds hold the readings that are in use: the devices alone
or the whole node, with or without the building, list prices of every provider and term; and,
where no place is stated, the cleanest and the dirtiest country's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from service.api.resolve import prices
from service.catalog import sites
from service.catalog.kinds import PriceFacts, RegionFacts
from service.catalog.snapshot import Snapshot
from service.core import energy
from service.core.hardware import Accelerator
from service.core.uncertainty import Interval

FORMAT = "bf16"


def spent(
    hours: Interval, accelerator: Accelerator, quantities: Mapping[str, Any], snapshot: Snapshot
) -> dict[str, Interval]:
    """Energy, carbon and, where the catalog has prices, money of device-hours."""
    place = _place(quantities, snapshot)
    kwh = _energy(hours, accelerator, place, snapshot)
    found = {"energy_kwh": kwh, "kgco2e": _carbon(kwh, place, snapshot)}
    listed = [
        fact.payload.usd_per_device_hour
        for fact in prices.prices_of(snapshot, accelerator.name)
        if isinstance(fact.payload, PriceFacts)
    ]
    if listed:
        low, high = min(listed), max(listed)
        found["usd"] = _between(hours, Interval(sqrt(low * high), low, high))
    return found


def _place(quantities: Mapping[str, Any], snapshot: Snapshot) -> sites.Site | None:
    name = quantities.get("region")
    known = isinstance(name, str) and snapshot.find("regions", name) is not None
    return sites.site(snapshot, str(name)) if known else None


def _energy(
    hours: Interval, accelerator: Accelerator, place: sites.Site | None, snapshot: Snapshot
) -> Interval:
    envelope = energy.power_envelope(
        accelerator.name, accelerator.tdp_watts, accelerator.idle_watts
    )
    watts = energy.device_watts(envelope, energy.typical_utilization(), energy.power_slope(FORMAT))
    world = sites.site(snapshot, sites.WORLD).pue.value
    pue = sqrt(world) if place is None else place.pue.value
    building = Interval(pue, 1.0, max(world, pue))
    alone = Interval(watts.value, watts.low - float(envelope.host_watts), watts.high)
    return _between(hours.times(1e-3), _between(alone, building))


def _carbon(kwh: Interval, place: sites.Site | None, snapshot: Snapshot) -> Interval:
    if place is not None:
        return kwh.times(place.grid.value / 1e3)
    grids = [
        fact.payload.grid_gco2e_per_kwh
        for fact in snapshot.facts("regions")
        if isinstance(fact.payload, RegionFacts)
        and fact.payload.scope == "country"
        and fact.payload.grid_gco2e_per_kwh
    ]
    world = sites.site(snapshot, sites.WORLD).grid.value
    grid = Interval(world, min(grids, default=world), max(grids, default=world))
    return _between(kwh, grid.times(1e-3))


def _between(a: Interval, b: Interval) -> Interval:
    """The product of two ranges of readings: every combination of them is possible."""
    return Interval(a.value * b.value, a.low * b.low, a.high * b.high)
