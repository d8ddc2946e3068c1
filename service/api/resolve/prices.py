"""The price of a device-hour out of the catalog or the request, with its source and age."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from service.api.problems import ProblemError, at
from service.api.requests import Pricing
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Ledger
from service.api.resolve.places import sourced
from service.api.response_spending import Price
from service.catalog.facts import Fact
from service.catalog.kinds import PriceFacts
from service.catalog.snapshot import Snapshot
from service.core.cost import is_stale, price_age_days

_COMMITTED = ("reserved", "savings-plan")
_USD = "/pricing/usd_per_device_hour"


class Offer(NamedTuple):
    """Reserved devices, and what the same ones cost by the hour."""

    reserved: Price
    on_demand: Price


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
    here: str | None = None,
) -> Price | None:
    """The price of a device-hour; None, with a warning, where the catalog has no such price.

    Without provider and region it is that of `here`, the region of the job's site; else, with a
    warning, the median of all.
    """
    wanted = pricing or Pricing()
    if wanted.usd_per_device_hour is not None:
        ledger.assume(_USD, wanted.usd_per_device_hour, "request")
        return own(wanted.usd_per_device_hour)
    snapshot, day = _at(snapshot, wanted, day)
    term = ledger.choose("/pricing/term", wanted.term, "on-demand", "what anybody can have")
    found = _matching(snapshot, wanted, accelerator_name, (term,))
    if found:
        if here and not (wanted.provider or wanted.region):
            found = _local(found, here, ledger)
        return _recorded(found, day, ledger)
    if wanted.model_copy(update={"owned": None, "reserved": None}) != Pricing():
        raise _no_price(snapshot, wanted, accelerator_name, term, pointer)
    if wanted.owned is None:
        ledger.warn(
            "price-unknown",
            f"the catalog has no {term} price for {accelerator_name}; send "
            "pricing.usd_per_device_hour to get the cost",
            "cost",
        )
    return None


def offer(
    snapshot: Snapshot,
    pricing: Pricing | None,
    accelerator_name: str,
    day: datetime.date,
    paid: Price | None,
) -> Offer | None:
    """Reserving against paying by the hour: the request's own offer, or the catalog's cheapest.

    In the catalog both prices are of one provider, and of one region where it is stated.
    """
    wanted = pricing or Pricing()
    if wanted.reserved is not None:
        terms = wanted.reserved
        asked = own(terms.usd_per_device_hour, terms.term_months)
        return None if paid is None else Offer(asked, paid)
    if wanted.usd_per_device_hour is not None:
        return None
    snapshot, day = _at(snapshot, wanted, day)
    committed = sorted(_matching(snapshot, wanted, accelerator_name, _COMMITTED), key=_usd)
    for fact in committed:
        terms_of = fact.payload
        assert isinstance(terms_of, PriceFacts)
        same = Pricing(provider=terms_of.provider, region=terms_of.region)
        hourly = _matching(snapshot, same, accelerator_name, ("on-demand",))
        if hourly:
            return Offer(median([fact], day), median(hourly, day))
    return None


def own(usd: float, term_months: int | None = None, source: str = "the request") -> Price:
    """A price of the caller's own."""
    return Price(
        usd_per_device_hour=usd,
        origin="request",
        term=None,
        term_months=term_months,
        source=source,
        source_date=None,
        age_days=None,
        stale=False,
        prices=1,
        lowest_usd_per_device_hour=usd,
        highest_usd_per_device_hour=usd,
    )


def median(found: Sequence[Fact], day: datetime.date) -> Price:
    """The median of some prices, with the source of the one that stands in the middle."""
    rated = sorted(found, key=lambda fact: (_usd(fact), fact.name))
    middle = rated[(len(rated) - 1) // 2]
    payload, stated = middle.payload, middle.provenance.source_date
    assert isinstance(payload, PriceFacts)
    first = _first_day(stated)
    many = f"median of {len(rated)} prices, as " if len(rated) > 1 else ""
    return Price(
        usd_per_device_hour=statistics.median(_usd(fact) for fact in rated),
        origin="catalog",
        term=payload.term,
        term_months=payload.term_months,
        source=many + sourced(middle),
        source_date=stated,
        age_days=None if first is None else max(price_age_days(first, day), 0),
        stale=is_stale(first, day),
        prices=len(rated),
        lowest_usd_per_device_hour=_usd(rated[0]),
        highest_usd_per_device_hour=_usd(rated[-1]),
    )


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


def _at(snapshot: Snapshot, wanted: Pricing, day: datetime.date) -> tuple[Snapshot, datetime.date]:
    """The catalog and the day that the price is looked up in."""
    if wanted.as_of is None:
        return snapshot, day
    return snapshot.as_of(wanted.as_of), wanted.as_of


def _matching(
    snapshot: Snapshot, wanted: Pricing, accelerator_name: str, terms: Sequence[str]
) -> Sequence[Fact]:
    return [
        fact
        for fact in prices_of(snapshot, accelerator_name)
        if isinstance(fact.payload, PriceFacts)
        and fact.payload.term in terms
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


def _recorded(found: Sequence[Fact], day: datetime.date, ledger: Ledger) -> Price:
    chosen = median(found, day)
    ledger.assume(_USD, chosen.usd_per_device_hour, "catalog", chosen.source)
    if chosen.stale:
        stated = chosen.source_date or "of no known date"
        message = f"the price ({stated}) is, or may be, more than 90 days old"
        ledger.warn("price-stale", message)
    return chosen


def _local(found: Sequence[Fact], here: str, ledger: Ledger) -> Sequence[Fact]:
    """The prices of a region; all of them, with a warning, where it has none."""
    local = [fact for fact in found if getattr(fact.payload, "region", None) == here]
    if not local:
        ledger.warn(
            "price-elsewhere",
            f"the catalog has no such price in {here}: the median of {len(found)} prices of "
            "other places stands in",
        )
    return local or found


def _usd(fact: Fact) -> float:
    payload = fact.payload
    assert isinstance(payload, PriceFacts)
    return payload.usd_per_device_hour


def _first_day(text: str | None) -> datetime.date | None:
    """The date, or the first day that a bare year or month can mean."""
    if text is None:
        return None
    year, month, day = ([int(part) for part in text.split("-")] + [1, 1])[:3]
    return datetime.date(year, month, day)
