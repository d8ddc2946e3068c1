"""Request and response of /places: where a job is cheapest, cleanest and fastest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from service.api.bounded import ApiModel, DeviceCount, Hours, Name, Predicted, Real, Whole
from service.api.request_bodies import RequestBody
from service.api.requests import EstimateRequest
from service.api.response_spending import Factor, Price
from service.api.responses import Assumption, Provenance, Warned

Names = Annotated[list[Name], Field(min_length=1, max_length=500)]
Term = Literal["on-demand", "spot", "reserved", "savings-plan"]
Weight = Annotated[Real, Field(ge=0, le=1_000)]
Mark = Literal[
    "price-stale",
    "price-region-unstated",
    "larger-slice",
    "grid-stale",
    "grid-stand-in",
    "pue-stand-in",
    "place-unknown",
]


class Weights(ApiModel):
    """How much a relative change of each counts in the ranking."""

    usd: Weight = 1.0
    kgco2e: Weight = 1.0
    hours: Weight = 1.0


class PlacesRequest(RequestBody):
    """A job without a site, and what may be chosen. What is left out is all that has a price."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request": {
                        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
                        "workload": {"kind": "pretraining", "tokens": 1e10},
                    },
                    "accelerators": ["h100-sxm", "a100-sxm4-80gb"],
                    "terms": ["on-demand", "spot"],
                    "deadline_hours": 72,
                }
            ]
        }
    )

    request: EstimateRequest
    deadline_hours: Hours | None = None
    regions: Names | None = Field(None, description="Default: every region with a price.")
    providers: Names | None = None
    accelerators: Names | None = Field(None, description="Default: the request's, or all.")
    terms: list[Term] = Field(["on-demand"], min_length=1, max_length=4)
    devices: list[DeviceCount] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Numbers of devices to try; default: the request's, or the fewest that fit "
        "(doubled until the deadline is met).",
    )
    weights: Weights = Weights()
    limit: Annotated[Whole, Field(ge=1, le=500)] = 50


class PlaceOption(ApiModel):
    """One place, provider, device and price, and what the job comes to there."""

    rank: int
    region: str | None = Field(description="Null where the price names no place.")
    provider: str | None
    accelerator: str
    devices: int
    devices_rented: int = Field(description="In whole instances or slices; all are paid for.")
    price: Price
    usd: Predicted
    total_kgco2e: Predicted = Field(description="Location-based and embodied.")
    market_kgco2e: Predicted | None
    energy_kwh: Predicted
    wall_clock_hours: Predicted
    device_hours: Predicted
    grid: Factor
    pue: float
    admission: Literal["fits", "at_risk"] | None = Field(
        description="Of memory; null for a model that is a size alone."
    )
    deadline: Literal["in_time", "at_risk", "late"] | None
    pareto: bool = Field(
        description="No other option in time is as good in money, carbon and hours and better "
        "in one."
    )
    marks: list[Mark] = Field(
        description="`price-stale`: perhaps older than 90 days; `price-region-unstated`: the "
        "price list names no region; `larger-slice`: more devices must be rented than are used; "
        "`grid-stale`: the grid figure is more than two years old; `grid-stand-in`, "
        "`pue-stand-in`: a wider area's figure; `place-unknown`: the world's average grid."
    )


class LeftOut(ApiModel):
    """A place or device that was asked for and cannot be ranked, and why."""

    name: str
    reason: str


class PlacesResponse(ApiModel):
    """Options from best to worst by money, carbon and hours together; late ones last."""

    considered: int
    options: list[PlaceOption]
    cheapest: PlaceOption | None = Field(description="In time; null where nothing is.")
    cleanest: PlaceOption | None
    fastest: PlaceOption | None
    left_out: list[LeftOut]
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance
