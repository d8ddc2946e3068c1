"""Accelerators and sites out of the catalog, or out of the request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from service.api.problems import ProblemError, at
from service.api.requests import Site
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Ledger
from service.api.response_spending import CarbonFactors, Factor
from service.catalog import sites
from service.catalog.errors import UnknownName
from service.catalog.facts import Fact
from service.catalog.hardware import accelerator as to_core
from service.catalog.snapshot import Snapshot
from service.core import spending
from service.core.hardware import Accelerator

DEFAULT_ACCELERATOR = "h100-sxm"
DEFAULT_REGION = sites.WORLD
_GRID = "/site/grid_gco2e_per_kwh"


def sourced(fact: Fact) -> str:
    """A fact's name and source, for the assumptions."""
    provenance = fact.provenance
    date = f" ({provenance.source_date})" if provenance.source_date else ""
    return f"{fact.kind}/{fact.name}: {provenance.source}{date}"


def unknown(kind: str, pointer: str, error: UnknownName) -> ProblemError:
    """The problem of a name that the catalog lacks."""
    return at(kind, pointer, str(error), error.suggestions)


def accelerator(
    snapshot: Snapshot,
    name: str | None,
    ledger: Ledger,
    pointer: str = "/hardware/accelerator",
) -> Accelerator:
    """The accelerator with this name or alias, or the default one."""
    try:
        fact, found = _accelerator(Catalog(snapshot), name or DEFAULT_ACCELERATOR)
    except UnknownName as error:
        raise unknown("unknown-accelerator", pointer, error) from None
    ledger.assume(pointer, fact.name, "catalog" if name else "default", sourced(fact))
    return found


@lru_cache(maxsize=512)
def _accelerator(catalog: Catalog, name: str) -> tuple[Fact, Accelerator]:
    fact = catalog.snapshot.get("accelerators", name)
    return fact, to_core(fact)


@dataclass(frozen=True)
class Place:
    """What energy, carbon and water are calculated with."""

    site: spending.Site
    factors: CarbonFactors
    """The site's grid intensities with their years and sources."""
    region: str | None = None
    """The cloud region, where the site is one."""
    hourly: tuple[float, ...] = ()
    """The caller's forecast, gCO2e/kWh hour by hour; empty where none was sent."""

    @property
    def grid(self) -> float:
        """Location-based; gCO2e/kWh."""
        return float(self.site.grid)

    @property
    def pue(self) -> float:
        """Energy of the building over that of its IT."""
        return float(self.site.pue)


def place(snapshot: Snapshot, site: Site | None, ledger: Ledger, within: str = "") -> Place:
    """The site of a request, or the world's average grid. `within`: where `site` stands."""
    wanted = site or Site()
    if wanted.region is None and wanted.country is None:
        world = sites.site(snapshot, DEFAULT_REGION)
        found = replace(world, market=None, marginal=None, wue=None)
        location = _own_grid(found, wanted, ledger)
    else:
        found = _known(snapshot, wanted, ledger, within)
        location = _location(found, ledger)
    factors = CarbonFactors(
        location=location,
        market=_factor(wanted.market_gco2e_per_kwh, found.market),
        marginal=_factor(wanted.marginal_gco2e_per_kwh, found.marginal),
    )
    here = spending.Site(
        location.gco2e_per_kwh,
        _pue(wanted, found.pue, ledger),
        _intensity(factors.market),
        _intensity(factors.marginal),
        _water(wanted, found.wue, ledger),
        wanted.grid_water_l_per_kwh,
    )
    cloud = getattr(found.region.payload, "scope", None) == "cloud"
    region = found.region.name if cloud else None
    return Place(here, factors, region, tuple(wanted.hourly_gco2e_per_kwh or ()))


def _known(snapshot: Snapshot, site: Site, ledger: Ledger, within: str) -> sites.Site:
    name, pointer = _region_name(site)
    pointer = within + pointer
    try:
        found = sites.site(snapshot, name)
    except UnknownName as error:
        raise unknown("unknown-region", pointer, error) from None
    for notice in found.notices:
        ledger.warn(notice.code, notice.message)
    ledger.assume(pointer, found.region.name, "catalog", sourced(found.region))
    return found


def _location(found: sites.Site, ledger: Ledger) -> Factor:
    ledger.assume(_GRID, found.grid.value, "catalog", _figure(found.grid, "gCO2e/kWh"))
    return of_catalog(found.grid)


def of_catalog(figure: sites.Figure) -> Factor:
    """A grid intensity of the catalog, with its year and source."""
    return Factor(gco2e_per_kwh=figure.value, year=figure.year, source=sourced(figure.origin))


def _factor(given: float | None, figure: sites.Figure | None) -> Factor | None:
    """The request's intensity, else the catalog's."""
    if given is not None:
        return Factor(gco2e_per_kwh=given, year=None, source="the request")
    return None if figure is None else of_catalog(figure)


def _intensity(factor: Factor | None) -> float | None:
    return None if factor is None else factor.gco2e_per_kwh


def _water(site: Site, figure: sites.Figure | None, ledger: Ledger) -> float | None:
    """Litres on site for a kWh of IT energy; None where nobody states them."""
    if site.wue_l_per_kwh is not None:
        ledger.assume("/site/wue_l_per_kwh", site.wue_l_per_kwh, "request")
        return site.wue_l_per_kwh
    if figure is None:
        return None
    ledger.assume("/site/wue_l_per_kwh", figure.value, "catalog", _figure(figure, "WUE"))
    return figure.value


def _region_name(site: Site) -> tuple[str, str]:
    if site.region is not None:
        return site.region, "/site/region"
    code = (site.country or "").lower()
    return (f"country/{code}" if len(code) == 2 else code), "/site/country"


def _own_grid(world: sites.Site, site: Site, ledger: Ledger) -> Factor:
    """The request's own intensity: stated, or the mean of its series; else the world's."""
    given, hourly = site.grid_gco2e_per_kwh, site.hourly_gco2e_per_kwh
    if given is not None:
        ledger.assume(_GRID, given, "request")
        return Factor(gco2e_per_kwh=given, year=None, source="the request")
    if hourly:
        source = f"mean of the {len(hourly)} hours of hourly_gco2e_per_kwh"
        ledger.assume(_GRID, fmean(hourly), "request", source)
        return Factor(gco2e_per_kwh=fmean(hourly), year=None, source=source)
    ledger.assume("/site/region", DEFAULT_REGION, "default", "the place is not known")
    return _location(world, ledger)


def _pue(site: Site, figure: sites.Figure, ledger: Ledger) -> float:
    if site.pue is not None:
        ledger.assume("/site/pue", site.pue, "request")
        return site.pue
    ledger.assume("/site/pue", figure.value, "catalog", _figure(figure, "PUE"))
    return figure.value


def _figure(figure: sites.Figure, what: str) -> str:
    year = f" of {figure.year}" if figure.year else ""
    return f"{what}{year}; {sourced(figure.origin)}"
