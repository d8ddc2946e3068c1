"""Accelerators: what one device can do, draw and cost to make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.catalog.facts import Payload, Slug, Text

Format = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8", "int4"]
Positive = Annotated[float, Field(gt=0)]

_NEIGHBOUR: Mapping[Format, tuple[Format, ...]] = {
    "bf16": ("tf32",),
    "fp16": ("tf32",),
    "fp8": ("bf16", "fp16"),
    "fp4": ("fp8",),
    "int8": ("fp8", "fp16", "bf16"),
    "int4": ("int8",),
}
_ROUNDING = 1.02


class Range(Payload):
    """Low, central and high."""

    low: Positive
    central: Positive
    high: Positive

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.central <= self.high:
            raise ValueError("low, central and high must not decrease")
        return self


class AcceleratorFacts(Payload):
    """One accelerator type; every figure is for one device."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    vendor: Annotated[str, Field(min_length=1, max_length=100)]
    device_kind: Literal[
        "gpu", "gpu-consumer", "gpu-workstation", "superchip", "apu", "tpu", "asic", "soc"
    ]
    release_year: Annotated[int, Field(ge=2005, le=2100)]
    aliases: tuple[Slug, ...] = ()
    memory_bytes: Annotated[float, Field(ge=1e8, le=1e14)]
    memory_type: Annotated[str, Field(max_length=40)] | None = None
    memory_bandwidth_bytes_per_second: Annotated[float, Field(ge=1e9, le=1e15)]
    peak_flops: dict[Format, Annotated[float, Field(ge=1e10, le=1e19)]] = Field(min_length=1)
    """Dense FLOP/s (integer formats: operations/s), without structured sparsity."""
    peak_exceptions: dict[Format, Text] = Field(default_factory=dict)
    """Formats that may exceed twice their neighbour's rate, each with the reason."""
    scale_up_link: Annotated[str, Field(max_length=100)] | None = None
    scale_up_bandwidth_bytes_per_second: Annotated[float, Field(gt=0, le=1e14)]
    """One direction, between devices of one node or pod."""
    scale_out_bandwidth_bytes_per_second: Annotated[float, Field(gt=0, le=1e14)]
    """One direction, between nodes."""
    devices_per_node: Annotated[int, Field(ge=1, le=20_000)]
    tdp_watts: Annotated[float, Field(ge=1, le=20_000)]
    idle_watts: Annotated[float, Field(ge=0, le=20_000)]
    embodied_kgco2e: Range
    dies: Annotated[int, Field(ge=1, le=64)] = 1
    die_area_mm2: Annotated[float, Field(gt=0, le=100_000)] | None = None
    process_nm: Annotated[float, Field(gt=0, le=1_000)] | None = None
    assumed: dict[Annotated[str, Field(max_length=60)], Text] = Field(default_factory=dict)
    """Fields that the source does not state, each with what was assumed and why."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.idle_watts >= self.tdp_watts:
            raise ValueError("idle_watts must be below tdp_watts")
        for name, peak in self.peak_flops.items():
            limit = self._limit(name)
            if limit is not None and peak > limit * _ROUNDING:
                raise ValueError(
                    f"peak_flops.{name} is above twice the rate of the next wider format "
                    f"({limit:.4g}): is it a rate with sparsity? Give the dense rate, or the "
                    f"reason under peak_exceptions.{name}"
                )
        return self

    def _limit(self, name: Format) -> float | None:
        known = [self.peak_flops[n] for n in _NEIGHBOUR.get(name, ()) if n in self.peak_flops]
        return 2 * max(known) if known and name not in self.peak_exceptions else None
