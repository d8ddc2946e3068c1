"""Carbon and water of a job: use, making of the hardware, and what the numbers leave out.

Location-based, market-based and marginal emissions answer different questions: they stay
separate fields and are never added or substituted for one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from service.core.cost import HOURS_PER_YEAR
from service.core.numeric import FloatArray, Number
from service.core.uncertainty import Interval, added

LIFETIME_YEARS, LIFETIME_UTILIZATION = 4.0, 0.85
"""Of the hardware: years as in cloud-carbon-footprint; the share in use is an assumption."""

STALE_AFTER_YEARS = 2
"""Grids change by some per cent a year; public figures are published one to two years late."""


def is_stale_year(year: int | None, this_year: int) -> bool:
    """Whether a grid's figure is older than it need be, or of no known year."""
    return year is None or this_year - year > STALE_AFTER_YEARS


INCLUDED = (
    "electricity of the accelerators while computing and while waiting",
    "electricity of the rest of the node: CPUs, memory, network cards, fans, power supplies",
    "electricity of switches and storage, as a share of the node",
    "electricity of reserved but unused device-hours, where they are given",
    "cooling and power distribution of the building, through the PUE, once",
    "making of the accelerators and their share of the server, over lifetime and utilisation",
)
LEFT_OUT = (
    "making of the building, its cooling and its power plant",
    "making of switches and storage",
    "end of life of the hardware",
    "water on site and at the power plants, where no factor is stated for it",
    "data preparation, experiments and failed runs, unless a programme factor is given",
    "the use of the model after training, unless it is estimated as its own workload",
    "networks outside of the data centre, and the devices and travel of people",
)


class Operational(NamedTuple):
    """Emissions of the electricity by three methods; kgCO2e, or None where there is no factor."""

    location_kgco2e: Interval
    """Average of the grid that the electrons come from."""
    market_kgco2e: Interval | None
    """After the operator's contracts; may be 0."""
    marginal_kgco2e: Interval | None
    """Of the power plants that answer to one more kWh."""


def operational_kgco2e(energy_kwh: Interval, gco2e_per_kwh: Number) -> Interval:
    """Emissions of an energy that already includes the building; kgCO2e."""
    return energy_kwh.times(gco2e_per_kwh / 1e3)


def operational(
    energy_kwh: Interval,
    location_gco2e_per_kwh: Number,
    market_gco2e_per_kwh: Number | None = None,
    marginal_gco2e_per_kwh: Number | None = None,
) -> Operational:
    """The three figures side by side; a factor that is not known leaves its figure out.

    Source of the split: GHG Protocol scope 2 guidance (location, market); marginal as in
    ISO/IEC 21031 section on emission factors.
    """
    market, marginal = (
        None if factor is None else operational_kgco2e(energy_kwh, factor)
        for factor in (market_gco2e_per_kwh, marginal_gco2e_per_kwh)
    )
    return Operational(operational_kgco2e(energy_kwh, location_gco2e_per_kwh), market, marginal)


@dataclass(frozen=True)
class StartAdvice:
    """When to start a job within an hourly intensity series."""

    start_hour: int
    """Hours from the start of the series."""
    kgco2e: float
    kgco2e_at_once: float
    """The same job started at hour 0."""
    kgco2e_latest_worst: float
    """The same job started at its worst hour."""

    @property
    def saving_share(self) -> float:
        """What waiting saves against starting at once, 0 to 1."""
        return 1.0 - self.kgco2e / self.kgco2e_at_once if self.kgco2e_at_once > 0 else 0.0


def start_advice(
    hourly_gco2e_per_kwh: FloatArray, duration_hours: float, facility_kw: float
) -> StartAdvice:
    """The start hour with the least emissions for a job of constant power.

    Every start that lets the job end within the series is tried; the last hour of the job may
    be a fraction. Raises `ValueError` where the series is shorter than the job.
    """
    whole = int(duration_hours)
    rest = duration_hours - whole
    needed = whole + (rest > 0)
    if duration_hours <= 0 or len(hourly_gco2e_per_kwh) < needed:
        raise ValueError(f"the series has to cover the {needed} hours of the job")
    starts = len(hourly_gco2e_per_kwh) - needed + 1
    total = np.concatenate([[0.0], np.cumsum(hourly_gco2e_per_kwh)])
    sums = total[whole : whole + starts] - total[:starts]
    if rest > 0:
        sums = sums + rest * hourly_gco2e_per_kwh[whole : whole + starts]
    kilograms = sums * facility_kw / 1e3
    best = int(np.argmin(kilograms))
    return StartAdvice(best, *(float(x) for x in (kilograms[best], kilograms[0], kilograms.max())))


def embodied_kgco2e(
    device_hours: Number,
    card_kgco2e: Interval,
    server_share_kgco2e: Interval,
    lifetime_years: Number = LIFETIME_YEARS,
    utilization: Number = LIFETIME_UTILIZATION,
) -> Interval:
    """The job's share of making its hardware; kgCO2e: low, central and high method.

    `M = TE x TiR / EL` of ISO/IEC 21031 with the hours in use as expected lifespan. The bounds
    are methods (die only, vendor footprint, whole board), not a 90 % interval; published methods
    differ fifteen-fold for one H100.
    """
    hours_in_use = lifetime_years * HOURS_PER_YEAR * utilization
    value, low, high = (
        (card + server) * device_hours / hours_in_use
        for card, server in zip(card_kgco2e, server_share_kgco2e, strict=True)
    )
    return Interval(value, low, high)


class Water(NamedTuple):
    """Water that is consumed, in litres; None where the place states no factor."""

    on_site_litres: Interval | None
    off_site_litres: Interval | None


def water(
    it_kwh: Interval,
    total_kwh: Interval,
    wue_l_per_kwh: Number | None = None,
    grid_l_per_kwh: Number | None = None,
) -> Water:
    """Cooling water on site and water of the power plants.

    WUE is defined per kWh of IT energy, so it is not multiplied by the PUE; the power plants
    answer for the whole building (ISO/IEC 30134-9; `E_IT (WUE_on + PUE WUE_off)` in EcoLogits).
    """
    return Water(
        None if wue_l_per_kwh is None else it_kwh.times(wue_l_per_kwh),
        None if grid_l_per_kwh is None else total_kwh.times(grid_l_per_kwh),
    )


Method = Literal["location", "marginal"]


@dataclass(frozen=True)
class SoftwareCarbonIntensity:
    """`SCI = (O + M) per R`, ISO/IEC 21031; kgCO2e per functional unit."""

    kgco2e_per_unit: Interval
    functional_unit: str
    """R: what one unit is."""
    units: float
    method: Method


def software_carbon_intensity(
    use: Operational,
    embodied: Interval,
    functional_unit: str,
    units: float,
    method: Method = "location",
) -> SoftwareCarbonIntensity:
    """Carbon per token, request, model or whatever R the caller counts.

    The standard does not allow market-based factors, so there is no way to ask for one. Raises
    `ValueError` where R is empty, or the marginal figure is asked for and not known.
    """
    if not functional_unit or not units > 0:
        raise ValueError("R needs a name and a count above 0")
    chosen = use.location_kgco2e if method == "location" else use.marginal_kgco2e
    if chosen is None:
        raise ValueError("no marginal intensity is known here; give one or use location")
    per_unit = added(chosen, embodied).times(1.0 / units)
    return SoftwareCarbonIntensity(per_unit, functional_unit, units, method)


@dataclass(frozen=True)
class Equivalent:
    """A picture for an amount of carbon, given beside the amount and never instead of it."""

    name: str
    kgco2e_each: float
    source: str


POUND_KG = 0.45359237
EQUIVALENTS = (
    Equivalent(
        "passenger round trips by air, San Francisco to New York",
        1_200.0,
        "Patterson et al. 2021 (arXiv 2104.10350) Table 2",
    ),
    Equivalent(
        "average US cars over their lifetime, fuel included",
        126_000.0 * POUND_KG,
        "Strubell et al. 2019 (arXiv 1906.02243) Table 1: 126,000 lb",
    ),
    Equivalent(
        "years of an average person's emissions",
        11_023.0 * POUND_KG,
        "Strubell et al. 2019 (arXiv 1906.02243) Table 1: 11,023 lb",
    ),
)


def equivalents(kgco2e: Interval) -> tuple[tuple[Interval, Equivalent], ...]:
    """How many of each picture the amount makes, with its interval and source."""
    return tuple((kgco2e.times(1.0 / each.kgco2e_each), each) for each in EQUIVALENTS)
