"""Facts of the catalog as callers read and write them, and the queries that find them."""

from __future__ import annotations

import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.api.bounded import Amount, ApiModel, DeviceCount, Name, ParameterCount, Real
from service.api.request_bodies import RequestBody
from service.api.responses import Predicted
from service.api.responses import Provenance as AnswerProvenance
from service.catalog.facts import Provenance, Slug
from service.catalog.kinds import (
    AcceleratorFacts,
    ClaimFacts,
    ModelFacts,
    PriceFacts,
    RegionFacts,
    ReportFacts,
)

Verdict = Literal["consistent", "inconsistent", "unverifiable"]
NameInPath = Annotated[
    Slug | None, Field(description="Always in an answer; may be left out of what is sent.")
]
CatalogKind = Literal["models", "accelerators", "regions", "prices", "claims", "reports", "runs"]


_STAMP = "Set by the catalog; ignored when sent."


class StampedProvenance(Provenance):
    """Where a fact comes from, and when the catalog learnt it."""

    version: int | None = Field(None, strict=True, description=_STAMP)
    recorded_at: str | None = Field(None, description=_STAMP)


class PageQuery(BaseModel):
    """How to leaf through the facts of a kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: str | None = Field(None, max_length=400, description="`next` of the page before.")
    q: str | None = Field(None, max_length=200, description="Looked for in names and titles.")
    as_of: datetime.date | None = None

    def filters(self) -> dict[str, object]:
        """What the payload must hold."""
        return self.model_dump(exclude=set(PageQuery.model_fields))


class ModelDocument(ModelFacts):
    """A reference model: its architecture and where it comes from."""

    name: NameInPath = None
    provenance: StampedProvenance


class AcceleratorDocument(AcceleratorFacts):
    """An accelerator type; every figure is for one device."""

    name: NameInPath = None
    provenance: StampedProvenance


class RegionDocument(RegionFacts):
    """A cloud region, a country, a state, or a provider's fleet."""

    name: NameInPath = None
    provenance: StampedProvenance


class PriceDocument(PriceFacts):
    """One line of a price list."""

    name: NameInPath = None
    provenance: StampedProvenance


class Precedent(ApiModel):
    """A published run of a model of the claimed size."""

    report: str = Field(description="Its name under /reports.")
    title: str
    parameters: float
    device_hours: float
    hardware: str
    factor: float = Field(description="The larger over the smaller of its hours and the claim's.")


class ClaimCheck(ApiModel):
    """One claimed quantity beside ours."""

    quantity: str
    verdict: Verdict
    claimed: float | None
    estimate: Predicted | None = Field(description="Ours; an exact figure has equal bounds.")
    factor: float | None = Field(description="The larger over the smaller of claim and estimate.")
    reason: str
    precedents: list[Precedent] = Field(
        default_factory=list,
        description="For device-hours: published runs of about this size, the nearest first.",
    )


class ClaimDocument(ClaimFacts):
    """A published statement, and what our own estimates say of it."""

    name: NameInPath = None
    provenance: StampedProvenance
    verdict: Verdict | None = Field(None, description="Ours; ignored when sent.")
    checks: list[ClaimCheck] | None = Field(None, description="Ours; ignored when sent.")


class ClaimQuery(PageQuery):
    """Which claims."""


class ReportDocument(ReportFacts):
    """What was published about one training run."""

    name: NameInPath = None
    provenance: StampedProvenance


Item = TypeVar("Item", bound=BaseModel)


class PageOf(BaseModel, Generic[Item]):
    """Some facts in the order of their names."""

    model_config = ConfigDict(frozen=True)

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page; null on the last.")


Filter = Annotated[str, Field(max_length=200)]


class ModelQuery(PageQuery):
    """Which models."""

    family: Filter | None = None
    modality: Filter | None = None


class AcceleratorQuery(PageQuery):
    """Which accelerators."""

    vendor: Filter | None = None
    device_kind: Filter | None = None


class RegionQuery(PageQuery):
    """Which places."""

    scope: Filter | None = None
    provider: Filter | None = None
    country: Filter | None = None


class PriceQuery(PageQuery):
    """Which prices."""

    provider: Filter | None = None
    accelerator: Filter | None = None
    region: Filter | None = None
    term: Filter | None = None


class ReportQuery(PageQuery):
    """Which reports."""

    model: Filter | None = None
    accelerator: Filter | None = None


Claimed = Annotated[Real, Field(ge=1e-12, le=1e30)]


class ClaimCheckRequest(RequestBody):
    """What is claimed, and of what."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"parameters": 175000000000, "device_hours": 3200}]}
    )

    model: Name | None = Field(None, description="A reference model of the catalog.")
    parameters: ParameterCount | None = None
    tokens: Amount | None = None
    accelerator: Name | None = Field(None, description="What the hours are counted on.")
    devices: DeviceCount | None = None
    region: Name | None = Field(None, description="Where it ran: a region or a country.")
    device_hours: Claimed | None = None
    wall_clock_days: Claimed | None = None
    memory_bytes: Claimed | None = None
    energy_kwh: Claimed | None = None
    kgco2e: Claimed | None = None
    usd: Claimed | None = None
    relative_to: Name | None = Field(None, description="The model that it is compared with.")
    size_reduction: Annotated[Real, Field(ge=0, le=1)] | None = None
    speedup: Claimed | None = None
    at_least: bool = Field(False, strict=True, description="The numbers are lower bounds.")


class ClaimCheckResponse(ApiModel):
    """The verdict on a claim."""

    verdict: Verdict
    checks: list[ClaimCheck]
    provenance: AnswerProvenance
