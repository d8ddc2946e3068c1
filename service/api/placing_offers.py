"""What can be rented where: the prices of the catalog, or the caller's, joined with places."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from service.api.place_models import Mark, PlacesRequest
from service.api.problems import at
from service.api.resolve import places, prices
from service.api.response_spending import Price
from service.catalog import sites
from service.catalog.errors import UnknownName
from service.catalog.facts import Fact
from service.catalog.kinds import PriceFacts, RegionFacts
from service.catalog.snapshot import Snapshot
from service.core.carbon import is_stale_year

MOST_OFFERS = 5_000


class Offer(NamedTuple):
    """One accelerator in one place at one price."""

    accelerator: str
    provider: str | None
    region: str | None
    """None where the price names no place."""
    site: sites.Site
    price: Price
    together: int
    """Devices that are rented as one."""
    marks: tuple[Mark, ...]


def regions_of(body: PlacesRequest, snapshot: Snapshot) -> Sequence[Fact]:
    """The regions that were asked for by name. Raises ProblemError."""
    found = []
    for index, name in enumerate(body.regions or ()):
        try:
            found.append(snapshot.get("regions", name))
        except UnknownName as error:
            raise places.unknown("unknown-region", f"/regions/{index}", error) from None
    return found


def accelerators_of(body: PlacesRequest, snapshot: Snapshot) -> Sequence[str]:
    """The accelerators to rank: named ones, the request's, or all with a price of the terms."""
    given = body.request.hardware.accelerator if body.request.hardware else None
    pricing = body.request.pricing
    own = pricing is not None and pricing.usd_per_device_hour is not None
    if body.accelerators is None and given is None and not own:
        priced = {
            fact.payload.accelerator
            for fact in snapshot.facts("prices")
            if isinstance(fact.payload, PriceFacts) and fact.payload.term in body.terms
        }
        return sorted(priced)
    asked = body.accelerators or [given or places.DEFAULT_ACCELERATOR]
    inside = "/accelerators/{}" if body.accelerators else "/request/hardware/accelerator"
    names = []
    for index, name in enumerate(asked):
        try:
            names.append(snapshot.get("accelerators", name).name)
        except UnknownName as error:
            raise places.unknown("unknown-accelerator", inside.format(index), error) from None
    return list(dict.fromkeys(names))


def offers(
    body: PlacesRequest, snapshot: Snapshot, accelerators: Sequence[str], day: datetime.date
) -> list[Offer]:
    """Everything that may be chosen. Raises ProblemError."""
    pricing = body.request.pricing
    if pricing is not None and pricing.usd_per_device_hour is not None:
        price = prices.own(pricing.usd_per_device_hour)
        every = _at_ones_own_price(body, snapshot, accelerators, price, day)
    else:
        _check_providers(body, snapshot)
        every = _at_listed_prices(body, snapshot, accelerators, day)
    found = list(islice(every, MOST_OFFERS + 1))
    if len(found) > MOST_OFFERS:
        detail = f"there are more than {MOST_OFFERS:,} offers; name fewer regions, providers, terms"
        raise at("too-much-work", "", detail)
    return found


def _at_ones_own_price(
    body: PlacesRequest,
    snapshot: Snapshot,
    accelerators: Sequence[str],
    price: Price,
    day: datetime.date,
) -> Iterator[Offer]:
    for region in regions_of(body, snapshot) or _clouds(snapshot, None):
        provider = _provider(region)
        if body.providers is None or provider in body.providers:
            for name in accelerators:
                yield _offer(name, provider, region, snapshot, price, 1, day)


def _at_listed_prices(
    body: PlacesRequest, snapshot: Snapshot, accelerators: Sequence[str], day: datetime.date
) -> Iterator[Offer]:
    named = {region.name for region in regions_of(body, snapshot)} if body.regions else None
    for name in accelerators:
        for fact in prices.prices_of(snapshot, name):
            priced = fact.payload
            assert isinstance(priced, PriceFacts)
            wanted = body.providers is None or priced.provider in body.providers
            if wanted and priced.term in body.terms:
                yield from _of_fact(fact, named, snapshot, day)


def _of_fact(
    fact: Fact, named: set[str] | None, snapshot: Snapshot, day: datetime.date
) -> Iterator[Offer]:
    """The offers of one price: where it holds, or, if it names no place, wherever it may."""
    priced = fact.payload
    assert isinstance(priced, PriceFacts)
    price = prices.median([fact], day)
    together = priced.accelerator_count
    if priced.region is not None:
        region = snapshot.find("regions", priced.region)
        if region is not None and (named is None or region.name in named):
            yield _offer(
                priced.accelerator, priced.provider, region, snapshot, price, together, day
            )
        return
    clouds = [r for r in _clouds(snapshot, priced.provider) if named is None or r.name in named]
    if not clouds and named is None:
        anywhere = sites.site(snapshot, sites.WORLD)
        marks = (*_marks(anywhere, price, day), "price-region-unstated", "place-unknown")
        yield Offer(priced.accelerator, priced.provider, None, anywhere, price, together, marks)
    for region in clouds:
        found = _offer(priced.accelerator, priced.provider, region, snapshot, price, together, day)
        yield found._replace(marks=(*found.marks, "price-region-unstated"))


def _offer(
    accelerator: str,
    provider: str | None,
    region: Fact,
    snapshot: Snapshot,
    price: Price,
    together: int,
    day: datetime.date,
) -> Offer:
    site = sites.site(snapshot, region.name)
    marks = _marks(site, price, day)
    return Offer(accelerator, provider, region.name, site, price, together, marks)


def _marks(site: sites.Site, price: Price, day: datetime.date) -> tuple[Mark, ...]:
    marks: list[Mark] = ["price-stale"] if price.stale else []
    if is_stale_year(site.grid.year, day.year):
        marks.append("grid-stale")
    codes = {notice.code for notice in site.notices}
    if "grid-stand-in" in codes:
        marks.append("grid-stand-in")
    if "pue-stand-in" in codes:
        marks.append("pue-stand-in")
    return tuple(marks)


def _clouds(snapshot: Snapshot, provider: str | None) -> list[Fact]:
    """Cloud regions, of one provider or of all."""
    return [
        fact
        for fact in snapshot.facts("regions")
        if isinstance(fact.payload, RegionFacts)
        and fact.payload.scope == "cloud"
        and provider in (None, fact.payload.provider)
    ]


def _provider(region: Fact) -> str | None:
    return region.payload.provider if isinstance(region.payload, RegionFacts) else None


def _check_providers(body: PlacesRequest, snapshot: Snapshot) -> None:
    known = {
        fact.payload.provider
        for fact in snapshot.facts("prices")
        if isinstance(fact.payload, PriceFacts)
    }
    for index, name in enumerate(body.providers or ()):
        if name not in known:
            detail = f"the catalog has no prices of {name[:60]}; it has {', '.join(sorted(known))}"
            raise at("unknown-price", f"/providers/{index}", detail)
