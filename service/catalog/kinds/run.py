"""Runs: the estimate request that a finished job ran with, and what was observed."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from service.catalog.facts import Payload, Slug

LARGEST_REQUEST = 512_000
"""Characters of a request's JSON."""
Measured = Annotated[float, Field(ge=1e-12, le=1e30)]


class Observed(Payload):
    """What was measured; at least one figure."""

    step_seconds: Measured | None = None
    """One optimizer step, typical of the steady state."""
    tokens_per_second: Measured | None = None
    """Of all devices together."""
    peak_bytes: Measured | None = None
    """Of the device that needs most."""
    device_hours: Measured | None = None
    """Of the whole job, all that was billed."""
    energy_kwh: Measured | None = None
    """Of the whole job, the building (PUE) included."""
    failures: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """Interruptions of the job."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"give at least one of {names}")
        return self


class RunFacts(Payload):
    """One finished job."""

    cluster: Slug
    """What the job ran on, by the name that its estimates ask for."""
    request: dict[str, Any]
    """As for an estimate."""
    observed: Observed
    published: bool = False
    """Whether the figures are out of a publication."""

    @model_validator(mode="after")
    def _small(self) -> Self:
        if len(json.dumps(self.request)) > LARGEST_REQUEST:
            raise ValueError(f"request is above {LARGEST_REQUEST} characters of JSON")
        return self
