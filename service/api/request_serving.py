"""What serving has to reach: a rate of requests within limits on times."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from service.api.bounded import ApiModel, Degree, Name, Real
from service.api.request_models import ModelSpec

Rate = Annotated[Real, Field(ge=1e-6, le=1e7)]
"""Requests a second; the least is one in eleven days."""
PeakToMean = Annotated[Real, Field(ge=1, le=1_000)]
Seconds = Annotated[Real, Field(gt=0, le=1e6)]
Chance = Annotated[Real, Field(ge=0, le=1)]


class LatencySpec(ApiModel):
    """Upper limits on times; null where there is none."""

    seconds_per_token: Seconds | None = None
    first_token_seconds: Seconds | None = None
    request_seconds: Seconds | None = None


class DraftSpec(ApiModel):
    """Speculative decoding: what proposes tokens for the model to verify."""

    tokens: Annotated[Degree, Field(le=64)] = Field(description="Proposed for each verification.")
    acceptance: Chance = Field(
        description="Chance that a proposed token is kept, as you measured it: none is assumed."
    )
    model: ModelSpec | None = Field(None, description="The model that proposes.")
    weights: Name | None = Field(None, description="Its weight format; default: `bf16`.")
    relative_cost: Chance | None = Field(
        None,
        description="In place of a model: time of one proposal over a step of the model in use "
        "(0 for n-grams). Its memory is taken as nothing.",
    )

    @model_validator(mode="after")
    def _one_cost(self) -> DraftSpec:
        if (self.model is None) == (self.relative_cost is None):
            raise ValueError("send either model or relative_cost")
        if self.model is None and self.weights is not None:
            raise ValueError("weights are those of the draft's model; send model with them")
        return self


class LoadSpec(ApiModel):
    """A load that a fleet of replicas has to carry."""

    requests_per_second: Rate = Field(description="On average.")
    peak_to_mean: PeakToMean = Field(1.0, description="The rate that must still meet the limits.")
    latency: LatencySpec | None = None
