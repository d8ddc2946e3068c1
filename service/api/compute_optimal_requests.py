"""Request of /compute-optimal: one budget, a law, and what else is to be weighed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from service.api.bounded import (
    Amount,
    ApiModel,
    DeviceCount,
    Flops,
    Hours,
    Kilograms,
    Name,
    Real,
    Share,
    Usd,
    Whole,
)
from service.api.request_bodies import RequestBody
from service.api.requests import Pricing, Site

MOST_VALUES = 100_000
Size = Annotated[Real, Field(ge=1e5, le=1e17)]
"""Parameters."""


class _Budget(ApiModel):
    """What the run takes place on; hours, money and carbon come from it."""

    accelerator: Name | None = None
    devices: DeviceCount | None = Field(None, description="Default: the fewest that fit.")
    utilization: Share | None = Field(
        None, description="Model-FLOPs utilisation; default: what the model of step time gives."
    )
    pricing: Pricing | None = None
    site: Site | None = None

    @property
    def names_devices(self) -> bool:
        """Whether anything is said of what the run takes place on."""
        said = (self.accelerator, self.devices, self.utilization, self.pricing, self.site)
        return any(value is not None for value in said)


class FlopsBudget(_Budget):
    """Training FLOPs, counted as 6 N D."""

    kind: Literal["flops"]
    value: Flops


class LossBudget(_Budget):
    """A loss to be reached, in nats a token under the law's data and tokenizer."""

    kind: Literal["loss"]
    value: Annotated[Real, Field(ge=0.1, le=20)]


class ParametersBudget(_Budget):
    """A fixed size: how many tokens it deserves."""

    kind: Literal["parameters"]
    value: Size


class TokensBudget(_Budget):
    """A fixed number of tokens: the size that they deserve."""

    kind: Literal["tokens"]
    value: Annotated[Real, Field(ge=1e5, le=1e21)]


class DeviceHoursBudget(_Budget):
    """Hours of one device, summed over devices."""

    kind: Literal["device_hours"]
    value: Hours


class UsdBudget(_Budget):
    """Money."""

    kind: Literal["usd"]
    value: Usd


class CarbonBudget(_Budget):
    """Location-based and embodied emissions."""

    kind: Literal["kgco2e"]
    value: Kilograms


class DeadlineBudget(_Budget):
    """Wall-clock hours on a number of devices."""

    kind: Literal["deadline"]
    hours: Hours
    devices: DeviceCount = Field(description="All of them are paid for.")


Budget = Annotated[
    FlopsBudget
    | LossBudget
    | ParametersBudget
    | TokensBudget
    | DeviceHoursBudget
    | UsdBudget
    | CarbonBudget
    | DeadlineBudget,
    Field(discriminator="kind"),
]

_Constant = Annotated[Real, Field(ge=1e-3, le=1e12)]
_Exponent = Annotated[Real, Field(ge=0.05, le=1)]


class OwnLaw(ApiModel):
    """`L = E + A / N^alpha + B / D^beta` with constants of your own, as /scaling-laws/fit gives."""

    irreducible: Annotated[Real, Field(ge=0, le=20)]
    parameter_coefficient: _Constant
    token_coefficient: _Constant
    parameter_exponent: _Exponent
    token_exponent: _Exponent


def _named_or_own(law: Any) -> str:
    return "own" if isinstance(law, Mapping | OwnLaw) else "named"


Law = Annotated[
    Annotated[Name, Tag("named")] | Annotated[OwnLaw, Tag("own")], Discriminator(_named_or_own)
]


class ModelOption(ApiModel):
    """A size that is to be judged, with the tokens of the whole budget unless they are given."""

    parameters: Size
    tokens: Annotated[Real, Field(ge=1e5, le=1e21)] | None = None


class MixtureOption(ApiModel):
    """A mixture of experts in place of the dense model, of the same compute."""

    experts: Annotated[Whole, Field(ge=2, le=65_536)]
    active_experts: Annotated[Whole, Field(ge=1, le=65_536)] = 1
    granularity: Annotated[Real, Field(ge=1, le=64)] = Field(
        1.0, description="How many times finer than a dense feed-forward layer an expert is."
    )
    expansion: Annotated[Real, Field(ge=1, le=10_000)] | None = Field(
        None, description="Total over active parameters; default: experts over active experts."
    )

    @model_validator(mode="after")
    def _some_idle(self) -> MixtureOption:
        if self.active_experts > self.experts:
            raise ValueError("active_experts must be at most experts")
        return self


_Bits = Annotated[Real, Field(ge=1, le=32)]


class PrecisionOption(ApiModel):
    """Bits in training, and of the weights after it."""

    weight_bits: _Bits = 16.0
    activation_bits: _Bits = 16.0
    kv_cache_bits: _Bits = 16.0
    inference_weight_bits: _Bits | None = Field(
        None, description="To which the finished weights are quantised."
    )


class LargestOption(ApiModel):
    """How long the largest model is to be trained: exactly one of the two."""

    tokens: Amount | None = None
    tokens_per_parameter: Annotated[Real, Field(ge=0.01, le=1e6)] | None = None

    @model_validator(mode="after")
    def _one(self) -> LargestOption:
        if (self.tokens is None) == (self.tokens_per_parameter is None):
            raise ValueError("send either tokens or tokens_per_parameter")
        return self


class ComputeOptimalRequest(RequestBody):
    """One budget, under one scaling law (all laws are answered side by side)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"budget": {"kind": "flops", "value": 5.76e23}, "law": "besiroglu-2024"}]
        }
    )

    budget: Budget
    values: list[Annotated[Real, Field(ge=1e-6, le=1e36)]] | None = Field(
        None,
        min_length=1,
        max_length=MOST_VALUES,
        fail_fast=True,
        description="Further amounts of the same kind of budget, answered as columns.",
    )
    law: Law | None = Field(
        None, description="A name, or constants of your own. Default: besiroglu-2024."
    )
    unique_tokens: Amount | None = Field(
        None, description="Tokens there are; more than these are repeated."
    )
    inference_tokens: Amount | None = Field(
        None, description="Tokens, prompts included, that the finished model will process."
    )
    model: ModelOption | None = Field(
        None, description="A size of your own to be set beside the best one."
    )
    largest: LargestOption | None = Field(
        None, description="Also the largest model that the budget trains on so many tokens."
    )
    mixture: MixtureOption | None = None
    precision: PrecisionOption | None = None
