"""Request and response of /compute-optimal: one budget in, the best size out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

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
)
from service.api.requests import Pricing, Site
from service.api.responses import Assumption, Predicted, Provenance, Warned


class FlopsBudget(ApiModel):
    """Training FLOPs, counted as 6 N D."""

    kind: Literal["flops"]
    value: Flops


class LossBudget(ApiModel):
    """A loss to be reached, in nats a token under the law's data and tokenizer."""

    kind: Literal["loss"]
    value: Annotated[Real, Field(ge=0.1, le=20)]


class ParametersBudget(ApiModel):
    """A fixed size: how many tokens it deserves."""

    kind: Literal["parameters"]
    value: Annotated[Real, Field(ge=1e5, le=1e17)]


class TokensBudget(ApiModel):
    """A fixed number of tokens: the size that they deserve."""

    kind: Literal["tokens"]
    value: Annotated[Real, Field(ge=1e5, le=1e21)]


class _OnDevices(ApiModel):
    accelerator: Name | None = None
    utilization: Share | None = Field(
        None, description="Model-FLOPs utilisation; default: that of published runs."
    )


class DeviceHoursBudget(_OnDevices):
    """Hours of one device, summed over devices."""

    kind: Literal["device_hours"]
    value: Hours


class UsdBudget(_OnDevices):
    """Money."""

    kind: Literal["usd"]
    value: Usd
    pricing: Pricing | None = None


class CarbonBudget(_OnDevices):
    """Location-based and embodied emissions."""

    kind: Literal["kgco2e"]
    value: Kilograms
    site: Site | None = None


class DeadlineBudget(_OnDevices):
    """Wall-clock hours on a number of devices."""

    kind: Literal["deadline"]
    hours: Hours
    devices: DeviceCount


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


class ComputeOptimalRequest(ApiModel):
    """One budget, under one scaling law (all laws are answered side by side)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"budget": {"kind": "flops", "value": 5.76e23}, "law": "besiroglu-2024"}]
        }
    )

    budget: Budget
    law: Name | None = Field(None, description="Default: besiroglu-2024.")
    unique_tokens: Amount | None = Field(
        None, description="Tokens there are; more than these are repeated."
    )
    inference_tokens: Amount | None = Field(
        None, description="Tokens that the finished model will produce in its life."
    )


class OptimumSection(ApiModel):
    """The best size and number of tokens."""

    parameters: Predicted
    tokens: Predicted
    loss: Predicted | None = Field(description="Nats a token; null where the law gives none.")
    flops: float
    tokens_per_parameter: float
    interval_basis: str = Field(description="Where the intervals of the sizes come from.")
    decades_outside_fit: float = Field(
        description="How far the budget lies outside the law's runs, in powers of ten."
    )
    spent: float = Field(description="What the optimum uses up, in the budget's own unit.")
    limited_by: str = Field(description="`budget`, or `capacity` of the devices.")


class LawAnswerSection(ApiModel):
    """What one law says of the same budget."""

    law: str
    parameters: float
    tokens: float
    flops: float
    loss: float | None
    tokens_per_parameter: float
    comparable: bool = Field(description="Counts as the default does: total, dense, 6 N D.")
    warnings: list[str]


class BasinSection(ApiModel):
    """A size beside the optimal one; null where it cannot reach the optimum's loss."""

    size_factor: float
    parameters: float
    tokens: float | None = Field(description="What reaches the optimum's loss at this size.")
    extra_compute: float | None = Field(description="As a fraction of the optimum's.")
    loss_increase: float = Field(description="With the same compute instead.")


class MarginalSection(ApiModel):
    """The loss, in nats a token, that a doubling takes away."""

    doubling_parameters: float
    doubling_tokens: float
    doubling_compute: float


class CurveSection(ApiModel):
    """Loss against size at the same compute: columns of one length."""

    flops: float
    parameters: list[float]
    tokens: list[float]
    loss: list[float]


class LifetimeSection(ApiModel):
    """The size when what it serves is counted too."""

    inference_tokens: float
    parameters: float
    tokens: float
    training_flops: float
    inference_flops: float
    loss: float
    saving: float = Field(description="Share of the compute-optimal model's lifetime cost.")


class RepeatedSection(ApiModel):
    """The size when the data runs out and is repeated."""

    unique_tokens: float
    epochs: float
    parameters: float
    tokens: float
    loss: float
    law: str


class ComputeOptimalResponse(ApiModel):
    """The best size for a budget, what the laws say, and how flat the optimum is."""

    optimum: OptimumSection
    laws: list[LawAnswerSection]
    basin: list[BasinSection]
    marginal: MarginalSection | None
    curve: CurveSection | None
    lifetime: LifetimeSection | None = Field(description="Null without inference_tokens.")
    repeated: RepeatedSection | None = Field(description="Null without unique_tokens.")
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance
