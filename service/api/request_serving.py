"""What serving has to reach: a rate of requests within limits on times."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.api.bounded import ApiModel, Real

Rate = Annotated[Real, Field(ge=1e-6, le=1e7)]
"""Requests a second; the least is one in eleven days."""
PeakToMean = Annotated[Real, Field(ge=1, le=1_000)]
Seconds = Annotated[Real, Field(gt=0, le=1e6)]


class LatencySpec(ApiModel):
    """Upper limits on times; null where there is none."""

    seconds_per_token: Seconds | None = None
    first_token_seconds: Seconds | None = None
    request_seconds: Seconds | None = None


class LoadSpec(ApiModel):
    """A load that a fleet of replicas has to carry."""

    requests_per_second: Rate = Field(description="On average.")
    peak_to_mean: PeakToMean = Field(1.0, description="The rate that must still meet the limits.")
    latency: LatencySpec | None = None
