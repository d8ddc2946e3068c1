"""The sections of an answer about money and carbon."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.api.bounded import ApiModel, Predicted


class Price(ApiModel):
    """Where the price of a device-hour comes from, and how old it is."""

    usd_per_device_hour: float
    origin: Literal["request", "catalog"]
    term: str | None = Field(description="`on-demand`, `spot` ...; null for a price of your own.")
    term_months: int | None = None
    source: str
    source_date: str | None = Field(description="As exactly as the source tells it.")
    age_days: int | None = Field(
        description="On the day that the answer is for; at most, where the date is but a year."
    )
    stale: bool = Field(description="Perhaps older than 90 days: judged by `age_days`.")
    prices: int = Field(description="How many prices of the catalog this is the median of.")
    lowest_usd_per_device_hour: float
    highest_usd_per_device_hour: float


class OwnedCost(ApiModel):
    """The same device-hours on hardware of one's own."""

    usd_per_device_hour: float = Field(description="Purchase, staff, hosting and power.")
    usd: Predicted
    utilization: float = Field(description="Of the device, as the request states it.")
    break_even_utilization: float | None = Field(
        description="Above this share in use owning costs less than renting; null: it never does."
    )


class ReservedCost(ApiModel):
    """The same device-hours on reserved devices that are used all the time."""

    price: Price
    on_demand: Price = Field(description="What it is set against: of the same provider.")
    usd: Predicted
    break_even_utilization: float | None = Field(
        description="Share of the reserved hours that must be used for reserving to cost less "
        "than on demand; above 1 it never does."
    )
    break_even_hours_per_device: float | None = Field(
        description="The same in hours of the term, where its length is known."
    )


class CostSection(ApiModel):
    """Money, rented; beside it what owning or reserving would cost."""

    usd: Predicted
    usd_per_device_hour: float
    currency: Literal["USD"] = "USD"
    price: Price
    beside_steps_usd: float | None = Field(
        None,
        description="Of `usd.value`, what failures, restarts, checkpoints and evaluation take, as "
        "in the time; null where no step time is known.",
    )
    owned: OwnedCost | None = None
    reserved: ReservedCost | None = None


class EnergyShares(ApiModel):
    """Where the energy goes; kWh. The parts add up to `energy_kwh.value`."""

    accelerators_kwh: float
    host_kwh: float
    network_storage_kwh: float
    idle_reserved_kwh: float
    building_kwh: float = Field(description="Cooling and power distribution, from the PUE.")
    programme_kwh: float = Field(description="The other runs of a programme factor.")


class Factor(ApiModel):
    """A grid's intensity, with the year that it is of and who states it."""

    gco2e_per_kwh: float
    year: int | None
    source: str


class CarbonFactors(ApiModel):
    """The factor of each method; null where the place has none. They are never mixed."""

    location: Factor
    market: Factor | None = None
    marginal: Factor | None = None


class Intensity(ApiModel):
    """Software Carbon Intensity, ISO/IEC 21031: use and making for one unit of R."""

    kgco2e_per_unit: Predicted
    functional_unit: str = Field(description="R.")
    units: float = Field(description="How many of R the job gives.")
    method: Literal["location"] = Field(description="Market-based figures are not allowed in it.")


class Equivalence(ApiModel):
    """A picture for `total_kgco2e`, with its source."""

    name: str
    count: Predicted
    source: str


class StartTime(ApiModel):
    """The best hour to start in the series of hourly intensities that was sent."""

    start_hour: int = Field(description="Hours after the series begins.")
    kgco2e: float
    kgco2e_at_once: float = Field(description="The same job started with the series.")
    kgco2e_at_worst: float
    saving_share: float = Field(description="What waiting saves against starting at once.")


class CarbonSection(ApiModel):
    """Energy and emissions. The three operational figures answer different questions."""

    energy_kwh: Predicted = Field(description="The building (PUE) included.")
    energy: EnergyShares
    pue: float
    operational_kgco2e: Predicted = Field(description="Location-based: the grid's average.")
    market_kgco2e: Predicted | None = Field(None, description="After the operator's contracts.")
    marginal_kgco2e: Predicted | None = Field(
        None, description="Of the power plants that answer to one more kWh."
    )
    factors: CarbonFactors
    embodied_kgco2e: Predicted = Field(
        description="Share of making the hardware; the bounds are methods, not a probability."
    )
    total_kgco2e: Predicted = Field(description="Location-based and embodied.")
    water_on_site_litres: Predicted | None = None
    water_off_site_litres: Predicted | None = Field(None, description="Of the power plants.")
    software_carbon_intensity: Intensity
    equivalents: list[Equivalence] = Field(description="Of the total; never instead of it.")
    start_time: StartTime | None = None
    included: list[str] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)
