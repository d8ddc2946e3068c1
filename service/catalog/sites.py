"""A place's grid, PUE and water, each figure with the fact that it comes from.

Where a place has no figure of its own, a wider area's stands in, and a warning says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.catalog.errors import UnknownName
from service.catalog.facts import Fact
from service.catalog.kinds import RegionFacts
from service.catalog.snapshot import Snapshot

WORLD = "world"


class Figure(NamedTuple):
    """A number with its year and the fact that states it."""

    value: float
    year: int | None
    origin: Fact


class Notice(NamedTuple):
    """A coded warning."""

    code: str
    message: str


@dataclass(frozen=True)
class Site:
    """What carbon and water are calculated with. Intensities in gCO2e/kWh, water in L/kWh."""

    region: Fact
    grid: Figure
    market: Figure | None
    marginal: Figure | None
    pue: Figure
    wue: Figure | None
    notices: tuple[Notice, ...]


def site(snapshot: Snapshot, name: str) -> Site:
    """The place with this name or alias. Raises UnknownName."""
    region = snapshot.get("regions", name)
    grid = _figure(region, "grid_gco2e_per_kwh", "grid_year")
    notices = [] if grid is None else _stand_in(region)
    if grid is None:  # a provider without a region: its devices may stand anywhere
        grid = _figure(snapshot.get("regions", WORLD), "grid_gco2e_per_kwh", "grid_year")
        message = f"{region.name} names no place: the world's average grid stands in"
        notices.append(Notice("grid-stand-in", message))
    assert grid is not None
    pue = _pue(snapshot, region)
    if pue.origin is not region:
        message = f"no PUE is known for {region.name}: that of {pue.origin.name} stands in"
        notices.append(Notice("pue-stand-in", message))
    return Site(
        region,
        grid,
        _figure(region, "market_gco2e_per_kwh", "market_year"),
        _figure(region, "marginal_gco2e_per_kwh", "marginal_year"),
        pue,
        _figure(region, "wue_l_per_kwh", "wue_year"),
        tuple(notices),
    )


def _figure(fact: Fact, field: str, year: str) -> Figure | None:
    value = getattr(fact.payload, field)
    return None if value is None else Figure(value, getattr(fact.payload, year), fact)


def _stand_in(region: Fact) -> list[Notice]:
    place = region.payload
    assert isinstance(place, RegionFacts)
    if place.grid_from is None:
        return []
    message = f"no grid figure is known for {region.name} itself: {place.grid_from} stands in"
    return [Notice("grid-stand-in", message)]


def _pue(snapshot: Snapshot, region: Fact) -> Figure:
    provider = getattr(region.payload, "provider", None)
    fleet = snapshot.find("regions", provider) if provider else None
    for origin in (region, fleet, snapshot.get("regions", WORLD)):
        found = _figure(origin, "pue", "pue_year") if origin else None
        if found is not None:
            return found
    raise UnknownName("regions", WORLD)
