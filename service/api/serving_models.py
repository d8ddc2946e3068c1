"""The serving section of an answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.api.bounded import ApiModel, Predicted


class FleetSection(ApiModel):
    """The fewest devices that carry a load within its limits, at the load's real utilisation."""

    fits: Literal["fits", "at_risk", "does_not_fit"] = Field(
        description="`fits`: limits met at the upper ends of the intervals; `at_risk`: at their "
        "central values."
    )
    reason: str | None = Field(description="`weights`, `cache` or `latency` where none fits.")
    devices: int | None = None
    replicas: int | None = None
    tensor: int | None = Field(None, description="Devices of a stage, as in `layout`.")
    pipeline: int | None = None
    attention_data_parallel: bool | None = Field(
        None, description="Whether each of these has sequences of its own, as in `layout`."
    )
    capacity_requests_per_second: float | None = None
    utilization: float | None = Field(None, description="Average rate over the capacity.")
    concurrency_at_peak: float | None = Field(None, description="In a replica.")
    decode_seconds_per_token: Predicted | None = Field(None, description="At the peak.")
    first_token_seconds: Predicted | None = Field(None, description="At the peak.")
    usd_per_million_output_tokens: float | None = Field(
        None, description="Whole devices are paid, used or not: exact."
    )
    joules_per_output_token: Predicted | None = Field(None, description="Idle time included.")
    kgco2e_per_million_output_tokens: Predicted | None = None


class DraftingSection(ApiModel):
    """What speculative decoding comes to, at the acceptance that the request states."""

    tokens_per_verification: float = Field(
        description="(1 - a^(n+1)) / (1 - a) for n proposed tokens, each kept with chance a."
    )
    speed_ratio: float = Field(
        description="Decoding against the same without a draft; below 1 it costs time."
    )
    weights_bytes: float = Field(description="Of the draft; held beside the model's.")
    kv_cache_bytes_per_token: float = Field(description="Of the draft.")


class ServingSection(ApiModel):
    """What an inference workload gets out of its devices."""

    weights_bytes: float
    kv_cache_bytes_per_token: float
    max_concurrency: int | None = Field(None, description="Longest requests that fit at once.")
    mean_concurrency: int | None = Field(None, description="Requests of the mean length that do.")
    in_flight: float | None = Field(
        None, description="Requests in progress that the speeds below are for."
    )
    kv_cache_bytes_per_token_per_device: float | None = Field(
        None, description="Heads are replicated where there are fewer than tensor ways."
    )
    kv_cache_bytes_per_request_per_device: float | None = Field(
        None, description="Of the longest request: what the architecture needs."
    )
    kv_cache_reserved_bytes_per_request_per_device: float | None = Field(
        None, description="The same where an engine keeps sliding windows at full length."
    )
    kv_cache_budget_bytes: float | None = Field(
        None, description="What the engine has for caches on a device."
    )
    prefill_seconds: Predicted | None = Field(None, description="One prompt on an idle replica.")
    first_token_seconds: Predicted | None = Field(
        None, description="From arrival, with `in_flight` requests always in progress."
    )
    decode_seconds_per_token: Predicted | None = None
    output_tokens_per_second: Predicted | None = None
    requests_per_second: Predicted | None = None
    memory_bandwidth_utilization: float | None = None
    model_flops_utilization: float | None = None
    usd_per_million_output_tokens: Predicted | None = None
    joules_per_output_token: Predicted | None = None
    gco2e_per_output_token: Predicted | None = Field(None, description="Operational.")
    calibration: Literal["pair", "engine", "none"] | None = Field(
        None, description="What was measured: this accelerator with this engine, the engine, none."
    )
    drafting: DraftingSection | None = Field(None, description="For the workload's draft.")
    fleet: FleetSection | None = Field(None, description="For the workload's load.")
