"""Number and name types of the API: finite, bounded, and never made out of text or booleans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class ApiModel(BaseModel):
    """The base of all request and response models: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Predicted(ApiModel):
    """A predicted number with the bounds that hold nine outcomes in ten (see provenance)."""

    value: float
    low: float
    high: float


def _whole(value: Any) -> Any:
    """Let 8.0 pass as 8; leave everything else to the strict check."""
    if type(value) is float and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int), Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]

Degree = Annotated[Whole, Field(ge=1, le=65_536)]
"""A degree of parallelism."""
DeviceCount = Annotated[Whole, Field(ge=1, le=10_000_000)]
BatchSize = Annotated[Whole, Field(ge=1, le=100_000_000)]
SequenceLength = Annotated[Whole, Field(ge=1, le=100_000_000)]
ParameterCount = Annotated[Whole, Field(ge=1, le=10**17)]
Amount = Annotated[Real, Field(ge=1, le=1e21)]
"""A number of tokens or samples."""
Flops = Annotated[Real, Field(ge=1e9, le=1e36)]
Hours = Annotated[Real, Field(ge=1e-6, le=1e12)]
Usd = Annotated[Real, Field(ge=0.01, le=1e15)]
Kilograms = Annotated[Real, Field(ge=1e-6, le=1e15)]
GridIntensity = Annotated[Real, Field(ge=0, le=2_000)]
"""gCO2e/kWh; the dirtiest grids stand near 1,000."""
Litres = Annotated[Real, Field(ge=0, le=100)]
"""Of water for a kWh."""
Pue = Annotated[Real, Field(ge=1, le=5)]
UsdPerHour = Annotated[Real, Field(ge=0, le=100_000)]
Share = Annotated[Real, Field(ge=0.001, le=1)]
COUNTRY, POINTER = "^[A-Za-z]{2,3}$", "^(/[^/]+)+$"
SHAPES: Mapping[str, str] = {
    COUNTRY: "must be a country's ISO 3166 code, such as FR",
    POINTER: "must be a pointer into the request, such as /hardware/count",
}
"""What to write, by the pattern that a text has to match."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
"""A name in the catalog; any case, aliases allowed."""
