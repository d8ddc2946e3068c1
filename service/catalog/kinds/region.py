"""Places: cloud regions, countries, states and zones, and what providers say of their fleets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.catalog.facts import Payload, Slug, Text

Year = Annotated[int, Field(ge=1990, le=2100)]
Quality = Literal["grid-zone", "subnational", "country", "world"]
"""What area a grid figure is for; anything but the place's own grid zone is a stand-in."""


class RegionFacts(Payload):
    """One place. The three intensities are different questions and are never mixed."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    scope: Literal["cloud", "country", "subnational", "provider", "world"]
    provider: Slug | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166-1 alpha-2."""
    aliases: tuple[Slug, ...] = ()
    grid_gco2e_per_kwh: Annotated[float, Field(ge=1, le=1_500)] | None = None
    """Location-based annual average. Below 1 is a gap in a source's data, not a grid."""
    grid_year: Year | None = None
    grid_method: Text = ""
    grid_quality: Quality | None = None
    grid_from: Slug | None = None
    """The wider area whose figure stands in where the place has none of its own."""
    market_gco2e_per_kwh: Annotated[float, Field(ge=0, le=1_500)] | None = None
    market_year: Year | None = None
    marginal_gco2e_per_kwh: Annotated[float, Field(ge=0, le=2_000)] | None = None
    marginal_year: Year | None = None
    pue: Annotated[float, Field(ge=1, le=3)] | None = None
    pue_year: Year | None = None
    wue_l_per_kwh: Annotated[float, Field(ge=0, le=20)] | None = None
    """Litres on site per kWh of IT energy."""
    wue_year: Year | None = None
    carbon_free_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    carbon_free_year: Year | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.scope != "provider" and self.grid_gco2e_per_kwh is None:
            raise ValueError("grid_gco2e_per_kwh is needed for a place")
        if self.grid_gco2e_per_kwh is not None and None in (self.grid_year, self.grid_quality):
            raise ValueError("grid_gco2e_per_kwh needs grid_year and grid_quality beside it")
        if self.scope == "cloud" and (self.provider is None or self.country is None):
            raise ValueError("a cloud region needs provider and country")
        return self
