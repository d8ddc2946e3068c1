"""What the formulas need to know of a device and of the place where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.core.numeric import Number

GIB = 2**30

GENERATIONS: Mapping[str, tuple[str, ...]] = {
    "volta": ("v100",),
    "ampere": ("a100", "a800", "a30"),
    "ampere-graphics": ("a10", "a40", "rtx-30", "rtx-a", "jetson"),
    "ada": ("rtx-40", "rtx-4000-ada", "rtx-5000-ada", "rtx-6000-ada", "l4"),
    "hopper": ("h100", "h800", "h200", "h20", "gh200"),
    "blackwell": ("b100", "b200", "gb200", "b300", "gb300"),
    "blackwell-graphics": ("rtx-50", "rtx-pro", "gb10"),
    "apple": ("apple",),
    "tpu": ("tpu",),
}
"""Accelerators of one design of processor, by how their slugs begin."""


def generation(name: str) -> str:
    """The group of accelerators that an accelerator belongs to; its own name where in none."""
    found = ((group, prefix) for group, prefixes in GENERATIONS.items() for prefix in prefixes)
    fitting = [(len(prefix), group) for group, prefix in found if name.startswith(prefix)]
    return max(fitting)[1] if fitting else name


@dataclass(frozen=True)
class Accelerator:
    """One accelerator type as the catalog knows it. All figures are per device."""

    name: str
    vendor: str
    release_year: int
    memory_bytes: float
    memory_bandwidth: float
    """bytes/s"""
    peak_flops: Mapping[str, float]
    """Dense peak FLOP/s by number format: fp32, tf32, bf16, fp16, fp8, fp4, int8."""
    scale_up_bandwidth: float
    """bytes/s, one direction, between devices of one node (NVLink, ICI, PCIe)."""
    scale_out_bandwidth: float
    """bytes/s, one direction, between nodes."""
    devices_per_node: int
    tdp_watts: float
    idle_watts: float
    embodied_kgco2e: tuple[float, float, float]
    """Low, central, high; kgCO2e for the card, cradle to gate."""

    def __hash__(self) -> int:
        return hash(self.name)

    def device(self, number_format: str) -> Device:
        """The numbers of this accelerator for arithmetic in one format.

        A format that the device has no units for runs at the rate of the next wider one.
        """
        return Device(
            peak_flops=self.peak_for(number_format),
            memory_bytes=self.memory_bytes,
            memory_bandwidth=self.memory_bandwidth,
            scale_up_bandwidth=self.scale_up_bandwidth,
            scale_out_bandwidth=self.scale_out_bandwidth,
            devices_per_node=self.devices_per_node,
            tdp_watts=self.tdp_watts,
            idle_watts=self.idle_watts,
            wide_peak_flops=self.peak_for(_NOT_BELOW_16_BITS.get(number_format, number_format)),
        )

    def peak_for(self, number_format: str) -> float:
        """Dense FLOP/s in the format, or in the next wider one that the device has."""
        for candidate in _WIDER[number_format]:
            if candidate in self.peak_flops:
                return self.peak_flops[candidate]
        return next(iter(self.peak_flops.values()))


_WIDER: Mapping[str, tuple[str, ...]] = {
    "fp32": ("fp32", "tf32"),
    "tf32": ("tf32", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8", "fp8", "bf16", "fp16", "fp32"),
    "fp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
}

_NOT_BELOW_16_BITS: Mapping[str, str] = {"fp8": "bf16", "int8": "bf16", "fp4": "bf16"}


@dataclass(frozen=True)
class Device:
    """An accelerator's figures for one number format; floats, or arrays in a sweep."""

    peak_flops: Number
    memory_bytes: Number
    memory_bandwidth: Number
    scale_up_bandwidth: Number
    scale_out_bandwidth: Number
    devices_per_node: Number
    tdp_watts: Number
    idle_watts: Number
    wide_peak_flops: Number = 0.0
    """Peak of the parts that stay at 16 bits where the products are narrower (attention, head)."""
