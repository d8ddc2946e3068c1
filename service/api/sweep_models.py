"""Request and response of /sweep: columns in, columns out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from service.api.bounded import POINTER, ApiModel
from service.api.request_bodies import RequestBody
from service.api.requests import EstimateRequest
from service.api.responses import Assumption, Provenance, Warned

AxisValue = str | int | float | bool | dict[str, Any] | None
AxisValues = Annotated[list[AxisValue], Field(min_length=1, max_length=100_000, fail_fast=True)]
"""The first wrong value is named alone: a finding for each would cost a thousand times more."""
Pointer = Annotated[str, Field(pattern=POINTER, max_length=200)]


class SweepRequest(RequestBody):
    """A base request and the fields that vary: every combination is estimated."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "base": {
                        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
                        "layout": {"zero_stage": 3},
                    },
                    "axes": {
                        "/hardware/count": [8, 16],
                        "/hardware/accelerator": ["h100-sxm", "a100-sxm4-80gb"],
                    },
                    "columns": ["/memory/peak_bytes/value", "/cost/usd/value"],
                }
            ]
        }
    )

    base: EstimateRequest
    axes: dict[Pointer, AxisValues] = Field(
        min_length=1,
        max_length=16,
        description="JSON pointers into the request, each with its values. The last one varies "
        "fastest.",
    )
    columns: list[Pointer] | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="JSON pointers into the answer; default: memory, time (of a token for "
        "inference), money, carbon and the verdict.",
    )


class SweepResponse(ApiModel):
    """The columns of axes and answers, one entry a combination."""

    rows: int
    refused: int = Field(description="Combinations that make no sense; null in their columns.")
    columns: dict[str, list[Any]]
    assumptions: list[Assumption] = Field(description="Of the first combination.")
    warnings: list[Warned]
    provenance: Provenance
