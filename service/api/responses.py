"""The answer of an estimate. A section that cannot be answered is null, and a warning says why."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.api.bounded import ApiModel
from service.api.bounded import Predicted as Predicted
from service.api.problems import Problem
from service.api.response_spending import CarbonSection, CostSection
from service.api.serving_models import ServingSection


class ParametersSection(ApiModel):
    """Exact counts; tied weights count once."""

    total: int
    active: int = Field(description="Used by one token: without the experts not chosen.")
    embedding: int | None = Field(None, description="The token embedding.")
    trainable: int | None = Field(None, description="What the workload trains, adapters included.")
    by_component: dict[str, int] = Field(description="By part of the network.")
    stored_bytes: float | None = Field(
        None, description="Of the weights, as the configuration or the file stores them."
    )
    stored_bytes_by_format: dict[str, float] | None = Field(
        None, description="The same by number format; scales count to their matrices."
    )


class ComputeSection(ApiModel):
    """Matrix FLOPs; a multiply-add is 2, causal attention counts half."""

    forward_flops_per_token: float
    training_flops: float | None = Field(
        None, description="Forward and backward over all tokens, without recomputation."
    )


class PerDeviceMemory(ApiModel):
    """Bytes on the device that needs most. The parts that a job has add up to the peak."""

    parameters_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float = Field(description="With the temporaries of the peak's moment.")
    overhead_bytes: float
    saved_activations_bytes: float | None = Field(
        None, description="Of the activations, what is kept from forward to backward."
    )
    kv_cache_bytes: float | None = Field(None, description="Keys and values, when serving.")


class MemorySection(ApiModel):
    """Peak memory of one device."""

    per_device: PerDeviceMemory
    peak_bytes: Predicted
    capacity_bytes: float | None = None


class StepShares(ApiModel):
    """What a training step's time goes to on the slowest pipeline stage; sums to 1.

    Of communication only what is not hidden behind kernels.
    """

    compute: float = Field(description="Kernels, and launching them.")
    tensor: float = Field(description="All-reduces of the tensor ways.")
    context: float = Field(description="Keys and values of the context ways.")
    expert: float = Field(description="All-to-alls of the expert ways.")
    data: float = Field(description="Gradients and, where they are sharded, parameters.")
    pipeline: float = Field(description="The bubble, and messages between stages.")
    optimizer: float


class TimeSection(ApiModel):
    """How long it takes."""

    step_seconds: Predicted | None = None
    training_seconds: Predicted | None = Field(
        None, description="Of a step under a preference or reinforcement objective: backward too."
    )
    forward_seconds: Predicted | None = Field(
        None, description="Of such a step: reference, reward and critic, and the policy once more."
    )
    rollout_seconds: Predicted | None = Field(
        None, description="Of such a step: generating its samples on the same devices."
    )
    host_seconds: Predicted | None = Field(
        None,
        description="Of a step, where states are offloaded: the host's update and the copy "
        "of the parameters back.",
    )
    tokens_per_second_per_device: Predicted | None = None
    model_flops_utilization: Predicted | None = None
    wall_clock_seconds: Predicted | None = None
    device_hours: Predicted | None = None
    step_shares: StepShares | None = Field(
        None, description="Of training alone: without samples, other passes and the host's part."
    )


class ComputeOptimalSection(ApiModel):
    """The best size for the same training FLOPs, and how this job compares."""

    parameters: Predicted
    tokens: Predicted
    tokens_per_parameter: float = Field(description="Of this job.")
    optimal_tokens_per_parameter: float
    verdict: Literal["undertrained", "compute_optimal", "overtrained"]
    law: str
    factor: Predicted = Field(
        description="Tokens a parameter over the optimum's; the bounds are those of the laws below."
    )
    verdicts: dict[str, str] = Field(description="Of every comparable law.")
    wasted_flops: float = Field(description="Above the least compute that reaches the same loss.")
    wasted_fraction: float = Field(description="Of this job's compute.")
    payback_tokens: float | None = Field(
        description="Inference tokens after which a smaller model than the optimum has repaid its "
        "longer training; null where it is not smaller."
    )


class Change(ApiModel):
    """A change of the request that makes the job fit, or leaves it at risk where none does."""

    patch: dict[str, Any] = Field(description="RFC 7396 merge patch of the request.")
    effect: str
    admission: Literal["fits", "at_risk", "does_not_fit"] = Field(description="After the change.")
    peak_bytes: Predicted = Field(description="After the change.")
    time_factor: float = Field(
        description="Wall-clock time over that before; of an output token when serving."
    )
    device_hours_factor: float = Field(
        description="Device-hours over those before; of an output token when serving."
    )
    extra_usd: float | None = Field(
        None, description="Of the job; of a million output tokens when serving."
    )


class VerdictSection(ApiModel):
    """Whether the job may start."""

    admission: Literal["fits", "at_risk", "does_not_fit"]
    limited_by: str = Field(description="The largest part of the device's memory.")
    margin_bytes: float = Field(description="Capacity less the expected peak.")
    smallest_changes: list[Change] = Field(default_factory=list)
    fewest_devices: int | None = Field(
        None,
        description="On which the job is sure to fit: in the layout's degrees and with the same "
        "batch, or in the best layout where none was asked for.",
    )
    longest_sequence: int | None = Field(
        None,
        description="Tokens of a sample (prompt and output, when serving) with which it is sure "
        "to fit in this layout, by memory alone; a multiple of 128.",
    )


class LayoutSection(ApiModel):
    """How the job is spread over devices."""

    devices: int
    data: int
    tensor: int
    pipeline: int
    context: int
    expert: int
    expert_tensor: int
    zero_stage: int
    shard_group: int | None = None
    sequence_parallel: bool
    attention_data_parallel: bool | None = Field(
        None, description="Of a replica: whether its devices have sequences of their own."
    )
    interleave: int
    micro_batch_size: int
    global_batch_size: int
    micro_batches: int


class Assumption(ApiModel):
    """One value that the answer rests on, and where it comes from."""

    field: str = Field(description="The field of the request that would change it.")
    value: Any
    origin: Literal["request", "catalog", "default", "calibration", "search"]
    source: str | None = None


class Warned(ApiModel):
    """Something that the caller should know; `code` is stable."""

    code: str
    message: str
    sections: list[str] = Field(
        default_factory=list, description="Sections that are null for this reason."
    )


class Provenance(ApiModel):
    """What made the answer: same request and same provenance, same bytes."""

    estimator: str = Field(description="Version of the program.")
    catalog: str = Field(description="State of the catalog.")
    calibration: str = Field(
        description="The fitted coefficients; `+cluster:count:digest` of the runs that counted."
    )
    interval: float = Field(description="Level of the intervals.")


class EstimateResponse(ApiModel):
    """Everything that can be said of the job."""

    parameters: ParametersSection | None
    compute: ComputeSection | None
    memory: MemorySection | None
    time: TimeSection | None
    serving: ServingSection | None
    cost: CostSection | None
    carbon: CarbonSection | None
    compute_optimal: ComputeOptimalSection | None
    verdict: VerdictSection | None
    layout: LayoutSection | None
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance


class ParametersResponse(ApiModel):
    """The parameters of /estimate."""

    parameters: ParametersSection | None
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance


class MemoryResponse(ApiModel):
    """The memory of /estimate, with the layout and the verdict that belong to it."""

    memory: MemorySection | None
    layout: LayoutSection | None
    verdict: VerdictSection | None
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance


class TrainingTimeResponse(ApiModel):
    """The time of /estimate, with the work and the layout that it follows from."""

    compute: ComputeSection | None
    time: TimeSection | None
    layout: LayoutSection | None
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance


class CarbonResponse(ApiModel):
    """The carbon of /estimate."""

    carbon: CarbonSection | None
    assumptions: list[Assumption]
    warnings: list[Warned]
    provenance: Provenance


class BatchItem(ApiModel):
    """The answer to one request of a batch: an estimate or a problem."""

    estimate: EstimateResponse | None = None
    problem: Problem | None = None


class BatchResponse(ApiModel):
    """The answers in the order of the requests."""

    items: list[BatchItem]
