"""Request and response of /layouts: the layouts that nothing else beats, under caps."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from service.api.bounded import ApiModel, DeviceCount, Hours, Kilograms, Real, Usd
from service.api.request_bodies import RequestBody
from service.api.requests import EstimateRequest
from service.api.responses import Assumption, LayoutSection, Predicted, Provenance, Warned


class CapsSpec(ApiModel):
    """Limits that a layout must keep."""

    deadline_hours: Hours | None = None
    usd: Usd | None = None
    kgco2e: Kilograms | None = None
    devices: DeviceCount | None = None
    margin_bytes: Annotated[Real, Field(ge=0, le=1e15)] | None = Field(
        None, description="Memory that stays free of the expected peak."
    )
    at_risk: bool = Field(
        False, strict=True, description="Also layouts whose memory interval straddles the limit."
    )


class LayoutsRequest(RequestBody):
    """A request without a layout, and the caps."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request": {"model": {"kind": "catalog", "name": "llama-3.1-8b"}},
                    "devices": [8, 16, 32],
                    "caps": {"deadline_hours": 2000},
                }
            ]
        }
    )

    request: EstimateRequest
    devices: list[DeviceCount] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Numbers of devices to try; default: the request's, or powers of two to 256.",
    )
    caps: CapsSpec | None = None


class LayoutOption(ApiModel):
    """One layout and what it comes to."""

    layout: LayoutSection
    recomputation: str
    peak_bytes: Predicted
    step_seconds: Predicted
    wall_clock_seconds: Predicted
    usd: Predicted | None
    total_kgco2e: Predicted


class Neighbour(ApiModel):
    """A layout one step from the fastest one, and why it loses."""

    change: str
    reason: str
    step_seconds_ratio: float | None
    peak_bytes: float | None


class LayoutsResponse(ApiModel):
    """The layouts that no other beats in time, money, carbon and devices; the fastest first."""

    considered: int
    fitting: int = Field(description="Whose memory fits.")
    allowed: int = Field(description="That keep all caps.")
    layouts: list[LayoutOption]
    neighbours: list[Neighbour] = Field(description="Of the first layout.")
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance
