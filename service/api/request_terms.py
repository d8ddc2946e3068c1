"""Parts of a request about money and carbon: owned and reserved devices, and what is counted."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from service.api.bounded import Amount, ApiModel, Hours, Real, Share, Usd, UsdPerHour, Whole

Years = Annotated[Real, Field(ge=0.1, le=30)]
Months = Annotated[Whole, Field(ge=1, le=120)]
PartOfPrice = Annotated[Real, Field(ge=0, lt=1)]


class OwnedSpec(ApiModel):
    """A device of one's own, its share of server, network and storage included."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "purchase_usd": 40000,
                    "lifetime_years": 4,
                    "utilization": 0.7,
                    "usd_per_kwh": 0.12,
                    "staff_share": 0.1,
                }
            ]
        }
    )

    purchase_usd: Usd
    lifetime_years: Years
    utilization: Share = Field(description="Share of its lifetime in which the device is used.")
    usd_per_kwh: Annotated[Real, Field(ge=0, le=10)]
    staff_share: PartOfPrice = Field(
        0.0, description="Staff and maintenance of a year over the purchase price."
    )
    hosting_usd_per_year: Annotated[Real, Field(ge=0, le=1e9)] = 0.0
    residual_share: PartOfPrice = Field(
        0.0, description="What it sells for in the end over the purchase price."
    )


class ReservedSpec(ApiModel):
    """An offer of reserved devices, to be set against paying by the hour."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"usd_per_device_hour": 1.9, "term_months": 12}]}
    )

    usd_per_device_hour: UsdPerHour
    term_months: Months | None = None


class FunctionalUnit(ApiModel):
    """R of the Software Carbon Intensity: what is counted, and how much of it the job gives."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "answered question", "count": 2e9}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=100)]
    count: Amount


class AccountingSpec(ApiModel):
    """What is counted beside the run itself; left out, nothing is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"programme_factor": 1.5}]})

    programme_factor: Annotated[Real, Field(ge=1, le=1_000)] | None = Field(
        None,
        description="Energy, carbon and water of the runs around this one (failed runs, sweeps, "
        "post-training) over its own. Published: 1.5 (OLMo to OLMo 2, arXiv 2503.05804: "
        "development was half of training), 5.6 (Olmo 3, arXiv 2605.01158: 82.2 % of compute was "
        "development). Money stays that of this run.",
    )
    idle_device_hours: Hours | None = Field(
        None, description="Reserved for this job and unused: money, idle power, making."
    )
    hardware_lifetime_years: Years | None = None
    hardware_utilization: Share | None = Field(
        None, description="Share of its lifetime in which the hardware is used."
    )
    functional_unit: FunctionalUnit | None = Field(
        None, description="Default: a million tokens (samples) of training."
    )
