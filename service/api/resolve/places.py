"""Accelerators, sites and prices out of the catalog, or out of the request."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from service.api.problems import ProblemError, at
from service.api.requests import Pricing, Site
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Ledger
from service.catalog import sites
from service.catalog.errors import UnknownName
from service.catalog.facts import Fact
from service.catalog.hardware import accelerator as to_core
from service.catalog.kinds import PriceFacts
from service.catalog.snapshot import Snapshot
from service.core import spending
from service.core.cost import is_stale
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
    """What energy, carbon and water are calculated with; gCO2e/kWh and L/kWh."""

    grid: float
    market: float | None
    marginal: float | None
    pue: float
    wue: float | None

    @property
    def site(self) -> spending.Site:
        """The place as the core takes it."""
        return spending.Site(self.grid, self.pue, self.market, self.marginal, self.wue)


def place(snapshot: Snapshot, site: Site | None, ledger: Ledger, within: str = "") -> Place:
    """The site of a request, or the world's average grid. `within`: where `site` stands."""
    if site is None or (site.region is None and site.country is None):
        return _own_grid(snapshot, site, ledger)
    name, pointer = _region_name(site)
    pointer = within + pointer
    try:
        found = sites.site(snapshot, name)
    except UnknownName as error:
        raise unknown("unknown-region", pointer, error) from None
    for notice in found.notices:
        ledger.warn(notice.code, notice.message)
    grid = found.grid
    ledger.assume(pointer, found.region.name, "catalog", sourced(found.region))
    ledger.assume(_GRID, grid.value, "catalog", _figure(grid, "gCO2e/kWh"))
    pue = _pue(site, found.pue, ledger)
    return Place(
        found.grid.value,
        found.market.value if found.market else None,
        found.marginal.value if found.marginal else None,
        pue,
        found.wue.value if found.wue else None,
    )


def _region_name(site: Site) -> tuple[str, str]:
    if site.region is not None:
        return site.region, "/site/region"
    code = (site.country or "").lower()
    return (f"country/{code}" if len(code) == 2 else code), "/site/country"


def _own_grid(snapshot: Snapshot, site: Site | None, ledger: Ledger) -> Place:
    world = sites.site(snapshot, DEFAULT_REGION)
    given = site.grid_gco2e_per_kwh if site else None
    if given is None:
        grid = world.grid.value
        ledger.assume("/site/region", DEFAULT_REGION, "default", "the place is not known")
        ledger.assume(_GRID, grid, "catalog", _figure(world.grid, "gCO2e/kWh"))
    else:
        grid = given
        ledger.assume(_GRID, grid, "request")
    return Place(grid, None, None, _pue(site, world.pue, ledger), None)


def _pue(site: Site | None, figure: sites.Figure, ledger: Ledger) -> float:
    if site is not None and site.pue is not None:
        ledger.assume("/site/pue", site.pue, "request")
        return site.pue
    ledger.assume("/site/pue", figure.value, "catalog", _figure(figure, "PUE"))
    return figure.value


def _figure(figure: sites.Figure, what: str) -> str:
    year = f" of {figure.year}" if figure.year else ""
    return f"{what}{year}; {sourced(figure.origin)}"


def day_of(as_of: datetime.date | None, snapshot: Snapshot) -> datetime.date:
    """The day that the answer is for: never the clock's, so that answers can be repeated."""
    return as_of or datetime.date.fromisoformat(snapshot.recorded_at[:10])


def price(
    snapshot: Snapshot,
    pricing: Pricing | None,
    accelerator_name: str,
    day: datetime.date,
    ledger: Ledger,
    pointer: str = "/pricing",
) -> float | None:
    """USD a device-hour; None, with a warning, where the catalog has no such price."""
    if pricing is not None and pricing.usd_per_device_hour is not None:
        ledger.assume("/pricing/usd_per_device_hour", pricing.usd_per_device_hour, "request")
        return pricing.usd_per_device_hour
    wanted = pricing or Pricing()
    if wanted.as_of is not None:
        snapshot, day = snapshot.as_of(wanted.as_of), wanted.as_of
    term = ledger.choose("/pricing/term", wanted.term, "on-demand", "what anybody can have")
    found = _matching(snapshot, wanted, accelerator_name, term)
    if not found:
        if pricing is not None:
            raise _no_price(snapshot, wanted, accelerator_name, term, pointer)
        ledger.warn(
            "price-unknown",
            f"the catalog has no {term} price for {accelerator_name}; send "
            "pricing.usd_per_device_hour to get the cost",
            "cost",
        )
        return None
    return _median(found, day, ledger)


def _matching(
    snapshot: Snapshot, wanted: Pricing, accelerator_name: str, term: str
) -> Sequence[Fact]:
    return [
        fact
        for fact in prices_of(snapshot, accelerator_name)
        if isinstance(fact.payload, PriceFacts)
        and fact.payload.term == term
        and wanted.provider in (None, fact.payload.provider)
        and wanted.region in (None, fact.payload.region)
    ]


def _no_price(
    snapshot: Snapshot, wanted: Pricing, accelerator_name: str, term: str, pointer: str
) -> ProblemError:
    held = [fact.payload for fact in prices_of(snapshot, accelerator_name)]
    providers = sorted({p.provider for p in held if isinstance(p, PriceFacts)})
    terms = sorted({str(p.term) for p in held if isinstance(p, PriceFacts)})
    known = (
        f"it has prices of {', '.join(providers)}; terms {', '.join(terms)}"
        if held
        else "it has none for this accelerator; send usd_per_device_hour"
    )
    asked = " ".join(str(x) for x in (wanted.provider, wanted.region, term) if x)
    detail = f"the catalog has no price for {accelerator_name} ({asked}): {known}"
    return at("unknown-price", pointer, detail)


def _median(found: Sequence[Fact], day: datetime.date, ledger: Ledger) -> float:
    """The median of the prices, recorded with the one that stands in the middle."""
    rated = sorted(found, key=lambda fact: (_usd(fact), fact.name))
    value = statistics.median(_usd(fact) for fact in rated)
    middle = rated[(len(rated) - 1) // 2]
    many = f"median of {len(rated)} prices, as " if len(rated) > 1 else ""
    ledger.assume("/pricing/usd_per_device_hour", value, "catalog", many + sourced(middle))
    if is_stale(_full_date(middle.provenance.source_date), day):
        stated = middle.provenance.source_date or "of no known date"
        ledger.warn("price-stale", f"the price ({stated}) is more than 90 days old on {day}")
    return value


def _usd(fact: Fact) -> float:
    payload = fact.payload
    assert isinstance(payload, PriceFacts)
    return payload.usd_per_device_hour


def _full_date(text: str | None) -> datetime.date | None:
    """The date, or the last day that a bare year or month can mean."""
    if text is None:
        return None
    year, month, day = ([int(part) for part in text.split("-")] + [0, 0])[:3]
    if day:
        return datetime.date(year, month, day)
    following = datetime.date(year + (month in (0, 12)), 1 if month in (0, 12) else month + 1, 1)
    return following - datetime.timedelta(days=1)


def prices_of(snapshot: Snapshot, accelerator_name: str) -> Sequence[Fact]:
    """The prices of one accelerator."""
    return _by_accelerator(Catalog(snapshot)).get(accelerator_name, ())


@lru_cache(maxsize=8)
def _by_accelerator(catalog: Catalog) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in catalog.snapshot.facts("prices"):
        assert isinstance(fact.payload, PriceFacts)
        found.setdefault(fact.payload.accelerator, []).append(fact)
    return found
