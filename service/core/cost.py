"""Money: device-hours to US dollars, owned hardware, reservations, failures and the cheapest way.

Prices come in as plain numbers; where they come from and how old they are is the catalog's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from service.core.numeric import FloatArray, Number, where
from service.core.uncertainty import Interval

HOURS_PER_YEAR = 8_766.0
"""Of a Julian year, 365.25 days."""
HOURS_PER_MONTH = HOURS_PER_YEAR / 12.0
STALE_AFTER_DAYS = 90


def cost_usd(
    device_hours: Interval, usd_per_device_hour: Number, fixed_usd: Number = 0.0
) -> Interval:
    """The price of a job; USD. `fixed_usd` does not grow with the hours (storage, egress)."""
    return device_hours.times(usd_per_device_hour).plus(fixed_usd)


@dataclass(frozen=True)
class OwnedHardware:
    """What owning one device costs, its share of the node included; floats or arrays."""

    purchase_usd: Number
    """Device and its share of server, network and storage."""
    lifetime_years: Number
    utilization: Number
    """Share of the lifetime that is sold or used, 0 to 1."""
    it_watts: Number
    """Mean draw in use, its share of the node included."""
    pue: Number
    usd_per_kwh: Number
    idle_it_watts: Number = 0.0
    staff_share: Number = 0.0
    """Yearly staff and maintenance as a share of the purchase price."""
    hosting_usd_per_year: Number = 0.0
    residual_share: Number = 0.0
    """What the hardware sells for at the end, as a share of the purchase price."""


def owned_usd_per_device_hour(owned: OwnedHardware) -> Number:
    """What an hour in use has to earn to pay for the device; USD.

    Purchase less residual, staff and hosting are spread over the hours in use; power is paid in
    use, and while idle for the hours that nobody uses. No cost of capital.
    """
    used_hours = HOURS_PER_YEAR * owned.utilization
    idle_per_used = (1.0 - owned.utilization) / owned.utilization
    watts = owned.it_watts + idle_per_used * owned.idle_it_watts
    return _owned_usd_per_year(owned) / used_hours + watts * owned.pue * owned.usd_per_kwh / 1e3


def _owned_usd_per_year(owned: OwnedHardware) -> Number:
    """Purchase less residual, staff and hosting: what a year costs, used or not; USD."""
    purchase = owned.purchase_usd * (1.0 - owned.residual_share) / owned.lifetime_years
    return purchase + owned.staff_share * owned.purchase_usd + owned.hosting_usd_per_year


def break_even_utilization(reserved_usd_per_hour: Number, on_demand_usd_per_hour: Number) -> Number:
    """The share of reserved hours that must be used before reserving is the cheaper way.

    Above 1 the reservation never pays.
    """
    return reserved_usd_per_hour / on_demand_usd_per_hour


def break_even_hours(
    reserved_usd_per_hour: Number, on_demand_usd_per_hour: Number, term_hours: Number
) -> Number:
    """Hours of use within the term at which both ways cost the same."""
    return term_hours * break_even_utilization(reserved_usd_per_hour, on_demand_usd_per_hour)


def owned_break_even_utilization(owned: OwnedHardware, on_demand_usd_per_hour: Number) -> Number:
    """The utilisation above which owning costs less than renting by the hour.

    Solves `owned_usd_per_device_hour = on demand` for the utilisation; above 1 it never pays,
    and infinity stands for a rent below the owner's power bill.
    """
    kwh_price = owned.pue * owned.usd_per_kwh / 1e3
    idle = owned.idle_it_watts * kwh_price
    margin = on_demand_usd_per_hour - (owned.it_watts - owned.idle_it_watts) * kwh_price
    pays = margin > 0
    share = (_owned_usd_per_year(owned) / HOURS_PER_YEAR + idle) / where(pays, margin, 1.0)
    return where(pays, share, float("inf"))


def price_age_days(priced_on: date, as_of: date) -> int:
    """How old a price is on the day that the answer is for."""
    return (as_of - priced_on).days


def is_stale(priced_on: date | None, as_of: date) -> bool:
    """Whether a price is older than 90 days, or of no known date."""
    return priced_on is None or price_age_days(priced_on, as_of) > STALE_AFTER_DAYS


def cheapest_within(
    usd: FloatArray, hours: FloatArray, deadline_hours: float | None = None
) -> int | None:
    """The index of the cheapest option that ends in time; None where none does.

    Of equal prices the faster one, then the first. Options with NaN are left out.
    """
    limit = np.inf if deadline_hours is None else deadline_hours
    allowed = np.isfinite(usd) & np.isfinite(hours) & (hours <= limit)
    if not allowed.any():
        return None
    candidates = np.flatnonzero(allowed)
    order = np.lexsort((candidates, hours[candidates], usd[candidates]))
    return int(candidates[order[0]])


def not_dominated(*criteria: FloatArray) -> NDArray[np.bool_]:
    """Which options no other matches everywhere and beats somewhere; less is better.

    Compares all pairs: meant for hundreds of places or thousands of layouts, not for sweeps.
    """
    table = np.stack(criteria, axis=1)
    kept = np.ones(len(table), dtype=bool)
    for i, row in enumerate(table):
        rivals = (table <= row).all(axis=1) & (table < row).any(axis=1)
        kept[i] = not rivals.any()
    return kept


def rank_together(
    usd: FloatArray,
    kgco2e: FloatArray,
    hours: FloatArray,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.intp]:
    """Options from best to worst by money, carbon and time together.

    Each is divided by the best there is and the weighted mean of logarithms is compared, so that
    a change of unit changes nothing. A zero counts as a hundredth of the smallest above zero.
    """
    score = np.zeros(len(usd))
    for column, weight in zip((usd, kgco2e, hours), weights, strict=True):
        above = column[column > 0]
        floor = above.min() / 100.0 if above.size else 1.0
        score = score + weight * np.log(np.maximum(column, floor))
    return np.argsort(score, kind="stable")
