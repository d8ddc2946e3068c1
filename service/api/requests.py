"""The body of an estimate. Only `model` is required; the answer lists every default it used."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, SkipValidation, model_validator

from service.api.bounded import (
    COUNTRY,
    ApiModel,
    Degree,
    DeviceCount,
    GridIntensity,
    Litres,
    Name,
    Pue,
    UsdPerHour,
    Whole,
)
from service.api.request_bodies import RequestBody
from service.api.request_models import ModelSpec
from service.api.request_terms import AccountingSpec, OwnedSpec, ReservedSpec
from service.api.request_workloads import Workload

ZeroStage = Annotated[Whole, Field(ge=0, le=3)]


def _text(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError("a date is a string such as 2026-03-01")
    return value


Date = Annotated[datetime.date, BeforeValidator(_text, json_schema_input_type=datetime.date)]


class Hardware(ApiModel):
    """The devices: which, and how many."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"accelerator": "h100-sxm", "count": 512}]}
    )

    accelerator: Name | None = None
    count: DeviceCount | None = Field(
        None, description="Default: the fewest devices that the job fits on."
    )


class LayoutSpec(ApiModel):
    """Degrees of parallelism. Left out altogether, the service chooses the best one that fits."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tensor": 4, "pipeline": 2, "zero_stage": 1}]}
    )

    tensor: Degree | None = None
    pipeline: Degree | None = None
    context: Degree | None = None
    expert: Degree | None = Field(
        None,
        description="Ways of the routed experts. In serving, more than `tensor` make groups of "
        "devices with sequences of their own (attention data parallelism).",
    )
    attention_data_parallel: bool | None = Field(
        None,
        strict=True,
        description="In serving a mixture of experts: whether each of the `tensor` devices has "
        "sequences of its own and all weights but the routed experts, or all divide attention "
        "(TensorRT-LLM `enable_attention_dp`, SGLang `--enable-dp-attention`, vLLM "
        "`--data-parallel-size` for `--tensor-parallel-size`). Default: under TensorRT-LLM as in "
        "NVIDIA's published runs, on from 16 sequences a device; elsewhere off.",
    )
    expert_tensor: Degree | None = None
    zero_stage: ZeroStage | None = Field(
        None, description="0 none, 1 optimizer states, 2 and gradients, 3 and parameters (FSDP)."
    )
    shard_group: DeviceCount | None = Field(
        None, description="Data-parallel ranks that ZeRO shards over; default: all of them."
    )
    sequence_parallel: bool | None = Field(None, strict=True)
    interleave: Degree | None = Field(
        None, description="Model chunks a pipeline stage (virtual stages)."
    )


class Site(ApiModel):
    """Where the devices stand: a cloud region, a country, or a grid intensity of your own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"region": "gcp/us-central1"}]})

    region: Name | None = None
    country: str | None = Field(None, pattern=COUNTRY, description="ISO 3166 code.")
    grid_gco2e_per_kwh: GridIntensity | None = None
    pue: Pue | None = Field(None, description="Power usage effectiveness of the building.")
    market_gco2e_per_kwh: GridIntensity | None = Field(
        None, description="After your contracts; default: what the provider states for the region."
    )
    marginal_gco2e_per_kwh: GridIntensity | None = Field(
        None, description="Of one more kWh. The catalog ships none: no free source states it."
    )
    hourly_gco2e_per_kwh: list[GridIntensity] | None = Field(
        None,
        min_length=1,
        max_length=8_784,
        description="A forecast, hour by hour from now, to be advised on when to start.",
    )
    wue_l_per_kwh: Litres | None = Field(
        None, description="Water on site for a kWh of IT energy; default: what the region states."
    )
    grid_water_l_per_kwh: Litres | None = Field(
        None, description="Water of the power plants for a kWh that they deliver."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Site:
        given = (self.region, self.country, self.grid_gco2e_per_kwh)
        if sum(value is not None for value in given) > 1:
            raise ValueError("give one of region, country and grid_gco2e_per_kwh")
        return self


class Pricing(ApiModel):
    """What a device costs: a figure of your own, or the catalog's for a provider and a term."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"usd_per_device_hour": 2.5}, {"provider": "aws"}]}
    )

    usd_per_device_hour: UsdPerHour | None = None
    provider: Name | None = None
    term: Name | None = Field(None, description="`on-demand`, `spot`, `reserved` ...")
    region: Name | None = None
    as_of: Date | None = Field(None, description="Prices as they stood on that day.")
    owned: OwnedSpec | None = Field(
        None, description="Hardware of your own, to be set beside the rented price."
    )
    reserved: ReservedSpec | None = Field(
        None, description="A reservation to be set against it; default: the catalog's cheapest."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Pricing:
        named = (self.provider, self.term, self.region, self.as_of)
        if self.usd_per_device_hour is not None and any(value is not None for value in named):
            raise ValueError(
                "usd_per_device_hour stands alone; leave out provider, term, region and as_of"
            )
        return self


class EstimateRequest(RequestBody):
    """A model, what is to be done with it, and on what. Only `model` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
                    "workload": {
                        "kind": "pretraining",
                        "tokens": 1.5e13,
                        "sequence_length": 8192,
                        "global_batch_size": 1024,
                        "micro_batch_size": 1,
                        "precision": "bf16-mixed",
                        "optimizer": "adamw",
                        "recomputation": "selective",
                        "attention": "flash",
                    },
                    "hardware": {"accelerator": "h100-sxm", "count": 512},
                    "layout": {"tensor": 4, "zero_stage": 1, "sequence_parallel": True},
                    "site": {"region": "gcp/us-central1"},
                    "pricing": {"usd_per_device_hour": 2.5},
                }
            ]
        }
    )

    model: ModelSpec
    workload: Workload | None = None
    hardware: Hardware | None = None
    layout: LayoutSpec | None = None
    site: Site | None = None
    pricing: Pricing | None = None
    cluster: Name | None = Field(
        None, description="A cluster whose recorded runs calibrate the answer."
    )
    accounting: AccountingSpec | None = Field(
        None, description="What is counted beside the run itself; nothing by default."
    )
    as_of: Date | None = Field(None, description="Answer with the catalog as it stood on that day.")
    limits: bool | None = Field(
        None,
        strict=True,
        description="Whether the verdict says the fewest devices and the longest sequence that "
        "fit; default: where the job is not sure to fit.",
    )


class BatchRequest(RequestBody):
    """Unlike requests in one call. Each is read by itself and gets its own answer or problem."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "requests": [
                        {"model": {"kind": "catalog", "name": "gpt2"}},
                        {"model": {"kind": "size", "parameters": 7000000000}},
                    ]
                }
            ]
        }
    )

    requests: list[SkipValidation[EstimateRequest] | Any] = Field(
        min_length=1,
        max_length=1_000,
        description="Requests to /estimate; one that is none gets its problem in its place.",
    )
