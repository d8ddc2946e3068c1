"""From the core's answers to the sections of a response: the one place that maps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from service.api.responses import (
    ComputeOptimalSection,
    ComputeSection,
    LayoutSection,
    MemorySection,
    ParametersSection,
    PerDeviceMemory,
    Predicted,
    StepShares,
    TimeSection,
)
from service.core.architecture.network import Network
from service.core.compute import table as compute_table
from service.core.estimate import ADMISSION, Estimate
from service.core.memory import MemoryParts
from service.core.numeric import Number
from service.core.parallelism import Layout
from service.core.parameters import ParameterCounts
from service.core.scaling_laws import sizing
from service.core.uncertainty import Interval

_STEP = tuple(StepShares.model_fields)
Admission = Literal["fits", "at_risk", "does_not_fit"]


def predicted(interval: Interval) -> Predicted:
    """An interval with plain numbers."""
    value, low, high = interval
    return Predicted(value=float(value), low=float(low), high=float(high))


def maybe(interval: Interval | None) -> Predicted | None:
    """An interval that may be missing."""
    return None if interval is None else predicted(interval)


def finite(value: Number | None) -> float | None:
    """A plain number; None for what is missing, infinite or not a number."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def parameters(
    counts: ParameterCounts, trainable: int, stored: Mapping[str, float] | None = None
) -> ParametersSection:
    """The exact counts; `stored`: bytes of the weights by number format, where they are known."""
    return ParametersSection(
        total=counts.total,
        active=round(counts.active),
        embedding=counts.embedding,
        trainable=trainable,
        by_component=dict(counts.by_component),
        stored_bytes=None if stored is None else sum(stored.values()),
        stored_bytes_by_format=None if stored is None else dict(stored),
    )


def compute(network: Network, sequence_length: float, samples: float | None) -> ComputeSection:
    """FLOPs of the network as it is, a token or (without tokens) a sample."""
    table = compute_table(network)
    tokens = sequence_length if network.tokens else 1.0
    return ComputeSection(
        forward_flops_per_token=table.forward(sequence_length) / tokens,
        training_flops=None if samples is None else table.training(sequence_length) * samples,
    )


def memory(estimate: Estimate) -> MemorySection:
    """Peak memory of a training job."""
    return MemorySection(
        per_device=_per_device(estimate.memory),
        peak_bytes=predicted(estimate.peak_bytes),
        capacity_bytes=estimate.capacity_bytes,
    )


def _per_device(parts: MemoryParts) -> PerDeviceMemory:
    return PerDeviceMemory(
        parameters_bytes=parts.parameters_bytes,
        gradients_bytes=parts.gradients_bytes,
        optimizer_bytes=parts.optimizer_bytes,
        activations_bytes=parts.activations_bytes + parts.temporaries_bytes,
        overhead_bytes=parts.overhead_bytes,
        saved_activations_bytes=parts.activations_bytes,
    )


def time(estimate: Estimate) -> TimeSection:
    """How long a training job takes; the items of a step where it has more than one."""
    items = estimate.step_items
    several = items.forward is not None
    return TimeSection(
        step_seconds=predicted(estimate.step_seconds),
        training_seconds=predicted(items.training) if several else None,
        forward_seconds=_item(items.forward),
        rollout_seconds=_item(items.rollout),
        host_seconds=_item(items.host),
        step_shares=StepShares(**{part: float(estimate.step.share(part)) for part in _STEP}),
        tokens_per_second_per_device=predicted(estimate.tokens_per_second_per_device),
        model_flops_utilization=predicted(estimate.model_flops_utilization),
        wall_clock_seconds=predicted(estimate.wall_clock_seconds),
        device_hours=predicted(estimate.device_hours),
    )


def _item(seconds: Interval | None) -> Predicted | None:
    """An item of a step; None where the step has none of it."""
    return predicted(seconds) if seconds is not None and seconds.value > 0 else None


@lru_cache(maxsize=256)
def compute_optimal(active: float, tokens: float) -> ComputeOptimalSection:
    """How a model of these active parameters compares with the best size for its compute."""
    found = sizing.verdict(active, tokens)
    opinions = sizing.opinions(active, tokens, comparable=True)
    factors = [opinion.factor for opinion in opinions]
    best = found.optimum
    return ComputeOptimalSection(
        parameters=predicted(best.parameters),
        tokens=predicted(best.tokens),
        tokens_per_parameter=found.tokens_per_parameter,
        optimal_tokens_per_parameter=best.tokens_per_parameter,
        verdict=found.verdict,
        law=found.law,
        factor=Predicted(value=found.factor, low=min(factors), high=max(factors)),
        verdicts={opinion.law: opinion.verdict for opinion in opinions},
        wasted_flops=found.wasted_flops,
        wasted_fraction=found.wasted_fraction,
        payback_tokens=finite(found.payback_tokens),
    )


def layout(chosen: Layout) -> LayoutSection:
    """The layout as whole numbers."""
    names = (
        "devices", "data", "tensor", "pipeline", "context", "expert", "expert_tensor",
        "zero_stage", "interleave", "micro_batch_size", "global_batch_size",
    )  # fmt: skip
    whole: dict[str, Any] = {name: int(getattr(chosen, name)) for name in names}
    return LayoutSection(
        **whole,
        shard_group=int(chosen.shard_group) or None,
        sequence_parallel=bool(chosen.sequence_parallel),
        micro_batches=math.ceil(chosen.micro_batches),
    )


def admission(code: Number) -> Admission:
    """The name of an admission code."""
    names: dict[int, Admission] = {0: "fits", 1: "at_risk", 2: "does_not_fit"}
    assert tuple(names.values()) == ADMISSION
    return names[int(code)]
