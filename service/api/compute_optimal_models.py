"""Response of /compute-optimal: the best size, what the laws say, and what follows from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.api.bounded import ApiModel, Predicted
from service.api.responses import Assumption, Provenance, Warned

Verdict = Literal["undertrained", "compute_optimal", "overtrained"]


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
    flops_interval: Predicted | None = Field(
        None, description="Null where the budget fixes the FLOPs; else from the step time."
    )
    perplexity: Predicted | None = Field(
        None, description="e^loss a token; comparable only under one tokenizer."
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
    parameters_interval: Predicted
    interval_basis: str
    decades_outside_fit: float
    warnings: list[str]


class SpreadSection(ApiModel):
    """How far the comparable laws lie apart: the answer's law, the least and the greatest."""

    parameters: Predicted
    tokens: Predicted
    flops: Predicted
    combined_parameters: Predicted = Field(
        description="The optimum's own interval widened to the spread."
    )
    combined_tokens: Predicted
    laws: int
    wider: Literal["own", "between_laws"] = Field(
        description="Which of the two is the wider for the size."
    )


class RunSection(ApiModel):
    """The optimum's training on the devices."""

    accelerator: str
    devices: int | None
    model_flops_utilization: float
    device_hours: Predicted
    wall_clock_hours: Predicted | None
    usd: Predicted | None = Field(description="Null where no price is known.")
    kgco2e: Predicted


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


class NextStepSection(ApiModel):
    """What the next 0.01 nat costs: the same size trained longer, or the best larger run.

    Above what the optimum uses; null where it cannot be had, or nothing says what devices cost.
    """

    nats: float
    loss: float
    perplexity: float
    longer_tokens: float | None
    longer_flops: float | None
    longer_device_hours: float | None = None
    longer_usd: float | None = None
    longer_kgco2e: float | None = None
    optimal_flops: float | None
    optimal_device_hours: float | None = None
    optimal_usd: float | None = None
    optimal_kgco2e: float | None = None


class CurveSection(ApiModel):
    """Loss against size at the same compute: columns of one length."""

    flops: float
    parameters: list[float]
    tokens: list[float]
    loss: list[float]


class FrontierSection(ApiModel):
    """The optimum from a hundredth to a hundred times the budget: columns of one length."""

    flops: list[float]
    parameters: list[float]
    tokens: list[float]
    loss: list[float] | None


class ColumnsSection(ApiModel):
    """The optimum of each of the values, in their order: columns of one length."""

    values: list[float]
    flops: list[float]
    parameters: list[float]
    parameters_low: list[float]
    parameters_high: list[float]
    tokens: list[float]
    loss: list[float] | None


class LifetimeSection(ApiModel):
    """The size when what it serves is counted too."""

    inference_tokens: float
    parameters: float
    tokens: float
    training_flops: float
    inference_flops: float
    loss: float
    saving: float = Field(description="Share of the compute-optimal model's lifetime cost.")
    token_factor: float = Field(description="Training tokens over the compute-optimal model's.")
    optimal_parameters: float
    optimal_tokens: float


class LifetimeCostSection(ApiModel):
    """The same in money: training and serving on the budget's devices at their price."""

    inference_tokens: float
    parameters: float
    tokens: float
    loss: float
    training_usd: float
    inference_usd: float
    total_usd: float
    saving: float = Field(description="Share of the compute-optimal model's lifetime cost.")
    optimal_parameters: float
    optimal_total_usd: float


class RepeatedSection(ApiModel):
    """The size when the data runs out and is repeated."""

    unique_tokens: float
    epochs: float
    parameters: float
    tokens: float
    loss: float
    effective_tokens: float = Field(description="Fresh tokens of the same worth.")
    effective_parameters: float
    unlimited_loss: float = Field(description="Of the same budget if all tokens were unique.")
    law: str


class OpinionSection(ApiModel):
    """What one law says of a size."""

    law: str
    verdict: Verdict
    factor: float = Field(description="Tokens a parameter over those of the law's optimum.")
    loss: float | None
    comparable: bool


class ModelSection(ApiModel):
    """The size that was asked about, against the best use of its compute."""

    parameters: float
    tokens: float
    flops: float
    tokens_per_parameter: float
    loss: float | None
    loss_increase: float | None = Field(description="Over the optimum of the same compute.")
    size_factor: float = Field(description="Over the optimum's size.")
    token_factor: float | None = Field(
        description="Tokens with which this size reaches the optimum's loss, over the optimum's."
    )
    extra_compute: float | None = Field(
        description="What that costs above the optimum, as a fraction; null: out of reach."
    )
    verdict: Verdict
    factor: float
    wasted_flops: float | None = Field(description="Above the least that reach this loss.")
    wasted_fraction: float | None
    payback_tokens: float | None = Field(
        description="Inference tokens that repay the longer training of a smaller model."
    )
    opinions: list[OpinionSection]
    effective_tokens: float | None = Field(None, description="With unique_tokens.")
    repeated_loss: float | None = Field(None, description="With unique_tokens, Muennighoff 2023.")


class LargestSection(ApiModel):
    """The largest model that the budget trains."""

    parameters: float
    tokens: float
    spent: float
    loss: float | None


class MixtureSection(ApiModel):
    """A mixture whose active parameters are those of the model or the optimum: trends only."""

    active_parameters: float
    total_parameters: float
    tokens: float
    sparsity: float
    dense_equivalent: Predicted = Field(description="The range over Clark 2022's routings.")
    clark_loss: dict[str, float]
    abnar_loss: float
    abnar_parameters: float = Field(description="Total, at its best use of the compute.")
    abnar_tokens: float
    krajewski_loss: float
    krajewski_dense_loss: float
    warnings: list[str]


class PrecisionSection(ApiModel):
    """Kumar 2024's direction for the model or the optimum."""

    effective_parameters: float
    loss_increase: float = Field(description="Of training in these precisions.")
    quantisation_loss: float | None = Field(description="Added by quantising afterwards.")
    warnings: list[str]


class HyperparametersSection(ApiModel):
    """DeepSeek 2024's learning rate and batch for the budget."""

    learning_rate: float
    batch_tokens: float
    model_scale: float = Field(description="Best non-embedding FLOPs a token.")
    decades_outside_fit: float


class ComputeOptimalResponse(ApiModel):
    """The best size for a budget, what the laws say, and how flat the optimum is."""

    optimum: OptimumSection
    laws: list[LawAnswerSection]
    basin: list[BasinSection]
    marginal: MarginalSection | None
    curve: CurveSection | None
    lifetime: LifetimeSection | None = Field(description="Null without inference_tokens.")
    repeated: RepeatedSection | None = Field(description="Null without unique_tokens.")
    spread: SpreadSection
    run: RunSection | None = Field(
        description="Null where nothing is said of devices, or they do not hold the optimum."
    )
    next_step: NextStepSection | None
    frontier: FrontierSection
    columns: ColumnsSection | None = Field(description="Null without values.")
    lifetime_cost: LifetimeCostSection | None = Field(
        description="Null without inference_tokens, devices and a price."
    )
    model: ModelSection | None = Field(description="Null without model.")
    largest: LargestSection | None = Field(description="Null without largest.")
    mixture: MixtureSection | None = Field(description="Null without mixture.")
    precision: PrecisionSection | None = Field(description="Null without precision.")
    hyperparameters: HyperparametersSection
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance
