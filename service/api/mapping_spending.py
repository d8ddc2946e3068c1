"""From what the core says a job spends to the sections on money and carbon."""

from __future__ import annotations

import numpy as np

from service.api.mapping import finite, maybe, predicted
from service.api.request_terms import AccountingSpec, FunctionalUnit, OwnedSpec
from service.api.requests import Pricing
from service.api.resolve import prices
from service.api.resolve.ledger import Ledger
from service.api.resolve.places import Place
from service.api.resolve.surroundings import Surroundings
from service.api.response_spending import (
    CarbonSection,
    CostSection,
    EnergyShares,
    Equivalence,
    Intensity,
    OwnedCost,
    ReservedCost,
    StartTime,
)
from service.core import carbon as core
from service.core import cost as money
from service.core import energy
from service.core.hardware import Accelerator
from service.core.spending import Spending
from service.core.uncertainty import Interval


def cost(
    spent: Spending,
    hours: Interval,
    around: Surroundings,
    pricing: Pricing | None,
    step_hours: float | None = None,
) -> CostSection | None:
    """Money; None where nothing states a price. `step_hours`: of `hours`, those in steps."""
    own = None
    if pricing is not None and pricing.owned is not None:
        own = _owned(pricing.owned, spent, hours, around)
    price, usd = around.price, predicted(spent.usd)
    if price is None:
        if own is None:
            return None
        price = prices.own(own.usd_per_device_hour, source="the request's owned hardware")
        usd = own.usd
    return CostSection(
        usd=usd,
        usd_per_device_hour=price.usd_per_device_hour,
        price=price,
        beside_steps_usd=(
            None
            if step_hours is None
            else (float(hours.value) - step_hours) * price.usd_per_device_hour
        ),
        owned=own,
        reserved=None if around.offer is None else _reserved(around.offer, hours),
    )


def _hardware(
    owned: OwnedSpec, spent: Spending, hours: Interval, around: Surroundings
) -> money.OwnedHardware:
    """The owner's device with the power that this job draws."""
    parts = spent.energy
    kwh = parts.accelerators_kwh + parts.host_kwh + parts.network_storage_kwh
    return money.OwnedHardware(
        purchase_usd=owned.purchase_usd,
        lifetime_years=owned.lifetime_years,
        utilization=owned.utilization,
        it_watts=kwh * 1e3 / hours.value,
        pue=around.place.pue,
        usd_per_kwh=owned.usd_per_kwh,
        idle_it_watts=_idle_watts(around.accelerator),
        staff_share=owned.staff_share,
        hosting_usd_per_year=owned.hosting_usd_per_year,
        residual_share=owned.residual_share,
    )


def _idle_watts(device: Accelerator) -> float:
    envelope = energy.power_envelope(device.name, device.tdp_watts, device.idle_watts)
    return float(envelope.idle_watts + envelope.host_watts)


def _owned(owned: OwnedSpec, spent: Spending, hours: Interval, around: Surroundings) -> OwnedCost:
    hardware = _hardware(owned, spent, hours, around)
    usd = float(money.owned_usd_per_device_hour(hardware))
    rent = around.usd_per_device_hour
    share = None if rent is None else money.owned_break_even_utilization(hardware, rent)
    return OwnedCost(
        usd_per_device_hour=usd,
        usd=predicted(hours.times(usd)),
        utilization=owned.utilization,
        break_even_utilization=finite(share),
    )


def _reserved(offer: prices.Offer, hours: Interval) -> ReservedCost:
    reserved, hourly = offer.reserved.usd_per_device_hour, offer.on_demand.usd_per_device_hour
    months = offer.reserved.term_months
    term = None if months is None else months * money.HOURS_PER_MONTH
    return ReservedCost(
        price=offer.reserved,
        on_demand=offer.on_demand,
        usd=predicted(hours.times(reserved)),
        break_even_utilization=(
            money.break_even_utilization(reserved, hourly) if hourly > 0 else None
        ),
        break_even_hours_per_device=(
            money.break_even_hours(reserved, hourly, term) if term and hourly > 0 else None
        ),
    )


def carbon(
    spent: Spending, place: Place, unit: FunctionalUnit, start: StartTime | None = None
) -> CarbonSection:
    """Energy, emissions and water."""
    use = spent.operational
    intensity = core.software_carbon_intensity(use, spent.embodied_kgco2e, unit.name, unit.count)
    return CarbonSection(
        energy_kwh=predicted(spent.energy.total_kwh),
        energy=_shares(spent.energy),
        pue=place.pue,
        operational_kgco2e=predicted(use.location_kgco2e),
        market_kgco2e=maybe(use.market_kgco2e),
        marginal_kgco2e=maybe(use.marginal_kgco2e),
        factors=place.factors,
        embodied_kgco2e=predicted(spent.embodied_kgco2e),
        total_kgco2e=predicted(spent.total_kgco2e),
        water_on_site_litres=maybe(spent.water.on_site_litres),
        water_off_site_litres=maybe(spent.water.off_site_litres),
        software_carbon_intensity=Intensity(
            kgco2e_per_unit=predicted(intensity.kgco2e_per_unit),
            functional_unit=unit.name,
            units=unit.count,
            method="location",
        ),
        equivalents=[
            Equivalence(name=picture.name, count=predicted(count), source=picture.source)
            for count, picture in core.equivalents(spent.total_kgco2e)
        ],
        start_time=start,
        included=list(core.INCLUDED),
        left_out=list(core.LEFT_OUT),
    )


def _shares(parts: energy.EnergyParts) -> EnergyShares:
    return EnergyShares(
        accelerators_kwh=parts.accelerators_kwh,
        host_kwh=parts.host_kwh,
        network_storage_kwh=parts.network_storage_kwh,
        idle_reserved_kwh=parts.idle_reserved_kwh,
        building_kwh=parts.building_kwh,
        programme_kwh=parts.programme_kwh,
    )


def unit_of(given: AccountingSpec | None, amount: float, tokens: bool) -> FunctionalUnit:
    """R: the caller's, or a million tokens (samples) of the training."""
    if given is not None and given.functional_unit is not None:
        return given.functional_unit
    name = f"million {'tokens' if tokens else 'samples'} of training"
    return FunctionalUnit.model_construct(name=name, count=amount / 1e6)


def start_time(
    spent: Spending, place: Place, wall_clock_hours: float | None, ledger: Ledger
) -> StartTime | None:
    """When to start within the caller's series; None, and why, where that cannot be said."""
    if not place.hourly:
        return None
    if wall_clock_hours is None:
        ledger.warn("start-time-unknown", "how long it takes needs hardware.count")
        return None
    power = float(spent.energy.total_kwh.value) / wall_clock_hours
    try:
        found = core.start_advice(np.array(place.hourly), wall_clock_hours, power)
    except ValueError:
        message = f"{len(place.hourly)} hours of intensity do not hold {wall_clock_hours:,.1f}"
        ledger.warn("series-too-short", f"{message} hours of training; no start is advised")
        return None
    return StartTime(
        start_hour=found.start_hour,
        kgco2e=found.kgco2e,
        kgco2e_at_once=found.kgco2e_at_once,
        kgco2e_at_worst=found.kgco2e_latest_worst,
        saving_share=found.saving_share,
    )
