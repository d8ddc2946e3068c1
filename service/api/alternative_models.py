"""Request and response of /alternatives: whether a smaller model would do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from service.api.bounded import (
    Amount,
    ApiModel,
    Degree,
    Kilograms,
    Name,
    Predicted,
    Real,
    SequenceLength,
    Usd,
)
from service.api.problems import FieldError, ProblemError
from service.api.request_bodies import RequestBody
from service.api.request_models import ModelSpec
from service.api.request_serving import LatencySpec, PeakToMean, Rate
from service.api.requests import EstimateRequest
from service.api.responses import Assumption, Provenance, Warned
from service.core.quality_evidence import Task

Technique = Literal["smaller", "distilled", "pruned", "adapter"]
Share = Annotated[Real, Field(ge=0, le=1)]
Months = Annotated[Real, Field(gt=0, le=1_200)]


class LengthsSpec(ApiModel):
    """Tokens of a request: on average, and its longest ones."""

    mean: SequenceLength
    p95: SequenceLength | None = None
    p99: SequenceLength | None = None

    @model_validator(mode="after")
    def _rising(self) -> LengthsSpec:
        given = [value for value in (self.p95, self.p99) if value is not None]
        if given != sorted(given):
            raise ValueError("p99 must be at least p95")
        return self

    @property
    def longest(self) -> float:
        """The highest percentile that was given, at least the mean."""
        return float(max(self.mean, self.p99 or self.p95 or 0))


class TrafficSpec(ApiModel):
    """What has to be served."""

    requests_per_second: Rate = Field(description="On average over the month.")
    peak_to_mean: PeakToMean = 1.0
    prompt_tokens: LengthsSpec | None = None
    output_tokens: LengthsSpec | None = None


class CandidateSpec(ApiModel):
    """A model of the caller's that is to be compared too."""

    name: Name
    model: ModelSpec
    weights: Name | None = Field(None, description="Weight format; default: as the model in use.")
    how: list[Technique] | None = Field(
        None,
        min_length=1,
        description="How it was made; default: `smaller` where it is, else `other`.",
    )
    making_usd: Usd | None = Field(None, description="What it costs to make; default: nothing.")
    making_kgco2e: Kilograms | None = None


class AdapterSpec(ApiModel):
    """A fine-tune of a smaller base, whose cost is estimated as /estimate does."""

    tokens: Amount | None = Field(None, description="Of training; default: 30,000 samples.")
    rank: Degree | None = Field(None, description="Of the adapters; default: 16.")


class AlternativesRequest(RequestBody):
    """The model in use, what it serves, and what matters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request": {
                        "model": {"kind": "catalog", "name": "llama-3.1-70b"},
                        "workload": {"kind": "inference", "weights": "bf16"},
                        "hardware": {"accelerator": "h100-sxm", "count": 16},
                        "site": {"country": "FR"},
                        "pricing": {"usd_per_device_hour": 2.5},
                    },
                    "traffic": {
                        "requests_per_second": 4,
                        "peak_to_mean": 2,
                        "prompt_tokens": {"mean": 1000, "p95": 4000},
                        "output_tokens": {"mean": 300, "p95": 800},
                    },
                    "latency": {"seconds_per_token": 0.1},
                    "task": "knowledge",
                }
            ]
        }
    )

    request: EstimateRequest = Field(
        description="The model in use; its workload must be inference. `hardware.count` is what "
        "is at hand."
    )
    traffic: TrafficSpec = Field(
        description="An encoder, which answers a request in one pass, has no output_tokens."
    )
    latency: LatencySpec | None = None
    task: Task
    horizon_months: Months = 12.0
    formats: list[Name] | None = Field(
        None, max_length=8, description="Weight formats to try; default: those usual on the engine."
    )
    candidates: list[CandidateSpec] | None = Field(None, max_length=8)
    adapter: AdapterSpec | None = None
    escalated_share: Share | None = Field(
        None,
        description="Of a cascade's requests, those that the small model passes on. Default: 0.3, "
        "an example, since only your own traffic tells.",
    )
    training_tokens: Amount | None = Field(
        None, description="That the model in use was trained on, for the ladder of sizes."
    )

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, value: Any) -> Any:
        """Fields of the inner request that stand beside it are said to belong inside."""
        inner = set(EstimateRequest.model_fields) - set(cls.model_fields)
        outside = [name for name in value if name in inner] if isinstance(value, dict) else []
        if outside:
            detail = "belongs inside `request`, beside the model in use"
            errors = [FieldError(detail, f"/{name}") for name in outside]
            raise ProblemError("invalid-request", f"/{outside[0]} {detail}", errors)
        return value


class FoundEvidence(ApiModel):
    """One published finding, as it stands."""

    id: str
    finding: str
    use: Literal["evidence", "warning"]
    same_task: bool
    same_family: bool
    same_size: bool
    same_pair: bool = Field(
        description="Whether it measured this very model against the one in use."
    )
    tasks: list[str]
    parameters: list[float] = Field(description="Smallest and largest model it was measured on.")
    numbers: dict[str, Any]
    confidence: str
    limits: str
    source: str


class QualityEvidence(ApiModel):
    """What is known of the quality: findings, the closest first; never a score."""

    measured_on_task: bool
    advice: str
    findings: list[FoundEvidence]


class FleetShape(ApiModel):
    """Equal replicas of one model."""

    replicas: int
    tensor: int = Field(description="Devices of a stage, as in `layout`.")
    pipeline: int
    attention_data_parallel: bool = Field(
        False, description="Whether each of these has sequences of its own, as in `layout`."
    )
    capacity_requests_per_second: float
    utilization: float = Field(description="Average rate over that capacity.")
    concurrency_at_peak: float = Field(description="Sequences in flight in a replica.")
    calibration: Literal["pair", "engine", "none"]


class Alternative(ApiModel):
    """One model in one form, sized for the traffic."""

    name: str
    model: str
    weights: str
    how: list[str] = Field(description="What sets it apart from the model in use.")
    parameters: int
    stored_bytes: float
    fit: Literal["fits", "at_risk", "does_not_fit"]
    reason: str | None
    devices: int | None
    fleets: list[FleetShape] = Field(description="Two in a cascade: the small model's first.")
    first_token_seconds: Predicted | None = Field(description="Of an encoder, to its answer.")
    decode_seconds_per_token: Predicted | None = Field(description="Null for an encoder.")
    usd_per_month: float | None = Field(description="Whole devices, used or not: exact.")
    kgco2e_per_month: Predicted | None
    usd_per_million_output_tokens: float | None = Field(description="Null for an encoder.")
    kgco2e_per_million_output_tokens: Predicted | None
    usd_per_million_requests: float | None
    kgco2e_per_million_requests: Predicted | None
    making_usd: float
    making_kgco2e: float
    payback_months: float | None = Field(description="Null where nothing is saved.")
    usd_over_horizon: float | None = Field(description="With the making.")
    kgco2e_over_horizon: float | None = Field(description="With the making; expected.")
    pareto: bool
    dominated_by: list[str] = Field(
        description="Options that are no dearer and no dirtier, their making spread over the "
        "horizon, no slower, take no more devices, are better in one of these, and of whose "
        "quality no less is known: the same model in as many bits, or measured on this task where "
        "this one was not."
    )
    quality: QualityEvidence


class BesideSmaller(ApiModel):
    """A larger model in fewer bits with about the bytes of a smaller one."""

    smaller: str
    larger: str


class AtRate(ApiModel):
    """The options with the fewest devices at another rate; none where nothing serves it."""

    rate_factor: float
    requests_per_second: float
    fewest_devices: list[str]


class AtOutputLength(ApiModel):
    """The options with the fewest devices at another mean output; none where nothing serves it."""

    output_factor: float
    output_tokens: float
    fewest_devices: list[str]


class AtPrice(ApiModel):
    """The cheapest options over the horizon at another price of a device-hour."""

    price_factor: float
    usd_per_device_hour: float
    usd_per_month_in_use: float | None = Field(description="Of the model in use.")
    cheapest_over_horizon: list[str] = Field(description="With the making, at its own cost.")


class RecommendedExperiment(ApiModel):
    """What to measure next: both models on the same requests of your own traffic."""

    candidate: str
    requests: int
    usd: float
    gains: Literal["service", "money", "carbon", "speed", "memory", "knowledge"] = Field(
        description="What the option gains most; `service` where the model in use does not fit, "
        "`knowledge` where nothing is gained and only its quality is in question."
    )
    why: str


class SizeRung(ApiModel):
    """The architecture at a share of its size, served alike: one replica at full load."""

    factor: float
    parameters: float
    loss: float = Field(description="Nats a token, of the scaling law.")
    loss_added: float
    weights_bytes: float
    devices: int = Field(description="Of one replica.")
    fits: bool = Field(description="Whether so many devices hold it.")
    peak_bytes: float
    decode_seconds_per_token: Predicted
    output_tokens_per_second: Predicted
    usd_per_million_output_tokens: Predicted
    kgco2e_per_million_output_tokens: Predicted


class AlternativesResponse(ApiModel):
    """The options side by side; the model in use first."""

    options: list[Alternative]
    pareto: list[str] = Field(
        description="Options that fit and that no other one dominates: see `dominated_by`."
    )
    beside: list[BesideSmaller]
    by_rate: list[AtRate] = Field(description="What would change the answer.")
    by_output_length: list[AtOutputLength] = Field(description="The same by length of outputs.")
    by_price: list[AtPrice] = Field(description="The same by price, over the horizon.")
    break_even_escalated_share: float | None = Field(
        description="Above this share a cascade costs more than the model in use; null where it "
        "never pays."
    )
    experiment: RecommendedExperiment | None = Field(
        description="Null only where no other option carries the load; a warning then says so."
    )
    diminishing: list[SizeRung] = Field(
        description="The model, a half and a quarter of it: no such models need exist. Empty for "
        "an encoder, of whose loss no scaling law speaks."
    )
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance
