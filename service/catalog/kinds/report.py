"""Published facts about real training runs: hours, energy, carbon, throughput."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.catalog.facts import Payload, Slug, Text

Amount = Annotated[float, Field(ge=1e-12, le=1e30)]


class ReportFacts(Payload):
    """What was published about one run."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    model: Slug | None = None
    """The reference model, where the catalog has it."""
    parameters: Amount | None = None
    active_parameters: Amount | None = None
    tokens: Amount | None = None
    accelerator: Slug | None = None
    hardware: Text = ""
    devices: Amount | None = None
    device_hours: Amount | None = None
    wall_clock_days: Amount | None = None
    model_flops_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    power_watts: Amount | None = None
    power_kind: Text = ""
    pue: Annotated[float, Field(ge=1, le=3)] | None = None
    grid_gco2e_per_kwh: Annotated[float, Field(gt=0, le=1_500)] | None = None
    energy_kwh: Amount | None = None
    energy_includes_pue: bool | None = None
    location_kgco2e: Amount | None = None
    market_kgco2e: Annotated[float, Field(ge=0, le=1e30)] | None = None
    included: Text = ""
    evidence: Literal["read", "recalled"]
    """`recalled` rows are shown with that mark and never fitted or tested on."""
    circular: bool = False
    """Energy is hours times rated power: arithmetic, not a measurement."""
    anomaly: Text = ""
    """Why the row contradicts itself or its source; such rows are never used."""
