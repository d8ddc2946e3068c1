"""What a job runs on and where, at which price: the part of a request that many requests share."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import NamedTuple

from service.api.requests import EstimateRequest, Pricing, Site
from service.api.resolve import places, prices
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Entries, Ledger
from service.api.response_spending import Price
from service.catalog.snapshot import Snapshot
from service.core.hardware import Accelerator


class Surroundings(NamedTuple):
    """An accelerator, its place, and its price."""

    accelerator: Accelerator
    place: places.Place
    price: Price | None
    """None where the catalog has no such price; a warning says so."""
    offer: prices.Offer | None
    """Reserved devices to set against it, where there are any."""

    @property
    def usd_per_device_hour(self) -> float | None:
        """The price alone."""
        return None if self.price is None else self.price.usd_per_device_hour


def surroundings(snapshot: Snapshot, request: EstimateRequest, ledger: Ledger) -> Surroundings:
    """The surroundings of a request, with the entries that they make in the ledger.

    Raises ProblemError for names that the catalog lacks.
    """
    name = request.hardware.accelerator if request.hardware else None
    site = request.site.model_dump_json() if request.site else ""
    pricing = request.pricing.model_dump_json() if request.pricing else ""
    short = len(site) + len(pricing) <= _LONGEST_KEPT
    look_up = _remembered if short else _looked_up
    found, entries = look_up(Catalog(snapshot), name, site, pricing, request.as_of)
    ledger.copy(entries)
    return found


def _looked_up(
    catalog: Catalog, name: str | None, site: str, pricing: str, as_of: datetime.date | None
) -> tuple[Surroundings, Entries]:
    snapshot, ledger = catalog.snapshot, Ledger()
    accelerator = places.accelerator(snapshot, name, ledger)
    where = Site.model_validate_json(site) if site else None
    place = places.place(snapshot, where, ledger)
    terms = Pricing.model_validate_json(pricing) if pricing else None
    day = prices.day_of(as_of, snapshot)
    price = prices.price(snapshot, terms, accelerator.name, day, ledger, here=place.region)
    offer = prices.offer(snapshot, terms, accelerator.name, day, price)
    return Surroundings(accelerator, place, price, offer), ledger.entries()


_remembered = lru_cache(maxsize=256)(_looked_up)
_LONGEST_KEPT = 2_000
"""Characters of a site and a price that may stay in memory."""
