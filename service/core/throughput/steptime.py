"""Seconds of one optimizer step.

    step = (m - 1 + 1) T_max + (sum T - T_max) / v + data + optimizer

`T` is the time of one micro-batch on one stage, forward and backward; the second term is the
pipeline bubble with `v` chunks a stage (Narayanan et al. 2021, arXiv 2104.04473, section 2.2, for
equal stages). A stage waits for its kernels and exposed collectives, or for the host that launches
them, now one and now the other:

    T = sqrt((products + attention + traffic + collectives)^2 + (kernels * launch)^2)
    data = sqrt(T^2 + D^2) - T

Gradients and parameters (`D`) travel beside the work, and each slows the other.

A product of [m, k] by [k, n] takes its FLOPs at the efficiency of large products, and the part of
its traffic that they do not hide; both are sums over the products of the stage, so a stage is
folded once (`work`) and every layout is evaluated from the sums.
"""

from __future__ import annotations

from typing import NamedTuple

from service.core.communication import (
    Links,
    exchange_calls_seconds,
    exchange_seconds_per_byte,
    gather_seconds_per_byte,
    reduce_seconds_per_byte,
    ring_calls_seconds,
    send_seconds_per_byte,
)
from service.core.formats import formats
from service.core.hardware import Device
from service.core.numeric import Number, maximum, minimum, sqrt, where
from service.core.optimizers import COPIES
from service.core.parallelism import Kernels, Layout
from service.core.throughput.coefficients import Coefficients
from service.core.throughput.stages import Stages
from service.core.throughput.work import Work


class StepTime(NamedTuple):
    """Seconds of one optimizer step, by what takes them; floats or arrays."""

    total_seconds: Number
    """The sum of the others."""
    compute_seconds: Number
    """Kernels of the slowest stage and their launches, over all its micro-batches."""
    tensor_seconds: Number
    context_seconds: Number
    expert_seconds: Number
    data_seconds: Number
    """The part of gradient and parameter traffic that is not hidden."""
    pipeline_seconds: Number
    """The bubble, and messages between stages."""
    optimizer_seconds: Number

    def share(self, part: str) -> Number:
        """The share of the step that a part takes: `compute`, `tensor` ..., 0 to 1."""
        return getattr(self, f"{part}_seconds") / self.total_seconds


class StateBytes(NamedTuple):
    """Bytes a parameter that a step moves."""

    gradient: float
    """Reduced over the data-parallel ranks."""
    parameter: float
    """Gathered by the ranks that hold a shard."""
    optimizer: float
    """Read and written in memory by the optimizer."""


_STATES = {**COPIES, "adamw-8bit": 0.5}
_STATES_BETWEEN = 1.5
"""Of Muon, which keeps one state for some tensors and two for others; taken for Adafactor too."""
_FOREACH_PASSES = 2.5
"""PyTorch's default optimizers run several passes over the states where fused ones run one."""


def state_bytes(kernels: Kernels) -> StateBytes:
    """Bytes a trained parameter that an optimizer step reads, writes and communicates."""
    width = formats(kernels)
    states = _STATES.get(kernels.optimizer, _STATES_BETWEEN) * width.state
    passes = _FOREACH_PASSES if kernels.implementation == "modules" else 1.0
    moved = 2.0 * width.gradient + passes * (
        width.gradient + 2.0 * (width.master or width.parameter) + 2.0 * states
    )
    return StateBytes(width.gradient, width.compute, moved + width.parameter)


class _Rates(NamedTuple):
    """Seconds a unit of each field of Work, in its order, in one micro-batch of a layout."""

    product: Number
    wide: Number
    attention: Number
    io: Number
    element: Number
    whole: Number
    """Ways that sequence parallelism divides what the tensor group does not."""
    tensor: Number
    context: Number
    expert: Number
    send: Number
    tensor_call: Number
    expert_call: Number


def step(
    stages: Stages,
    kernels_bytes: StateBytes,
    layout: Layout,
    device: Device,
    fitted: Coefficients,
) -> StepTime:
    """Seconds of one optimizer step of a job; floats or arrays."""
    links = Links(
        device.scale_up_bandwidth * fitted.inside_efficiency,
        device.scale_out_bandwidth * fitted.outside_efficiency,
        device.devices_per_node,
        fitted.call_seconds,
    )
    rates = _rates(stages.expert_copies, layout, device, fitted, links)
    heads = minimum(layout.tensor, stages.key_value_heads)
    slow = _slowest([_stage(work, heads, layout, rates, fitted) for work in stages.slowest])
    total_seconds = _all_stages(stages, slow[0], heads, layout, rates, fitted)
    states = _slowest(
        [_states(w, kernels_bytes, layout, device, fitted, links) for w in stages.slowest]
    )
    micro_batches = layout.micro_batches
    bubble = maximum(total_seconds - slow[0], 0.0) / layout.interleave
    _, kernels, tensor, context, expert, send = [part * micro_batches for part in slow]
    _, reduced, gathered, optimizer = states
    data = _beside(slow[0], fitted.data_exposure * reduced) + micro_batches * _beside(
        slow[0], fitted.data_exposure * gathered
    )
    return StepTime(
        slow[0] * micro_batches + bubble + data + optimizer,
        kernels,
        tensor,
        context,
        expert,
        data,
        bubble + send,
        optimizer,
    )


def _beside(work: Number, traffic: Number) -> Number:
    """Seconds that data-parallel traffic adds to the work of a micro-batch."""
    return sqrt(work * work + traffic * traffic) - work


def _slowest(parts: list[tuple[Number, ...]]) -> tuple[Number, ...]:
    """Of several stages' parts, those of the stage whose first part is largest."""
    best = parts[0]
    for other in parts[1:]:
        later = other[0] > best[0]
        best = tuple(where(later, b, a) for a, b in zip(best, other, strict=True))
    return best


def _rates(
    copies: Number, layout: Layout, device: Device, fitted: Coefficients, links: Links
) -> _Rates:
    tensor, context = layout.tensor, layout.context
    wide_peak = where(device.wide_peak_flops > 0, device.wide_peak_flops, device.peak_flops)
    narrow = where(wide_peak < device.peak_flops, fitted.narrow_efficiency, 1.0)
    moved = device.memory_bandwidth * fitted.memory_efficiency
    share = layout.micro_batch_size / context
    exposed = where(layout.sequence_parallel > 0, fitted.tensor_exposure, 1.0)
    exchanged = exchange_seconds_per_byte(layout.expert, layout.expert_tensor, copies, links)
    return _Rates(
        share / (device.peak_flops * fitted.product_efficiency * narrow),
        share / (wide_peak * fitted.product_efficiency),
        share / (tensor * wide_peak * fitted.attention_efficiency),
        share * fitted.io_share / moved,
        share / moved,
        where(layout.sequence_parallel > 0, tensor, 1.0),
        share * exposed * reduce_seconds_per_byte(tensor, 1.0, links),
        layout.micro_batch_size * gather_seconds_per_byte(context, tensor, links),
        share / tensor * exchanged,
        share / tensor * send_seconds_per_byte(layout.devices / layout.pipeline, links),
        exposed * ring_calls_seconds(tensor, links),
        exchange_calls_seconds(layout.expert, links),
    )


def _stage(
    work: Work, heads: Number, layout: Layout, rates: _Rates, fitted: Coefficients
) -> tuple[Number, ...]:
    """(seconds, kernels, tensor, context, expert, send) of one micro-batch on one stage."""
    tensor = layout.tensor
    products = (
        (work.product_tensor + work.product_expert) / tensor
        + work.product_key_value / heads
        + work.product_whole / rates.whole
    ) * rates.product + work.head_product / tensor * rates.wide
    io = (
        (work.io_tensor + work.io_expert) / tensor
        + work.io_whole
        + work.io_expert_whole * layout.expert_tensor / tensor
    ) * rates.io
    elements = (
        (work.element_tensor + work.element_expert + work.pairs) / tensor
        + work.element_whole / rates.whole
        + work.element_expert_whole * layout.expert_tensor / tensor
    ) * rates.element
    weights = (
        work.weight_tensor / tensor + work.weight_whole + work.weight_expert / layout.expert_ways
    ) * (rates.io * layout.context / layout.micro_batch_size)
    kernels = products + io + elements + weights + work.attention * rates.attention
    reduced = work.tensor_payload * rates.tensor + work.tensor_calls * rates.tensor_call
    ring = work.context_payload / heads * rates.context
    context = maximum(ring - 0.5 * kernels, 0.1 * ring)
    exchanged = work.expert_payload * rates.expert + work.expert_calls * rates.expert_call
    sent = where(layout.pipeline > 1, work.boundary_payload * rates.send * layout.interleave, 0.0)
    busy = kernels + reduced + context + exchanged + sent
    host = work.kernels * fitted.launch_seconds
    seconds = sqrt(busy * busy + host * host)
    return seconds, kernels + (seconds - busy), reduced, context, exchanged, sent


def _all_stages(
    stages: Stages,
    slowest_seconds: Number,
    heads: Number,
    layout: Layout,
    rates: _Rates,
    fitted: Coefficients,
) -> Number:
    """Seconds of one micro-batch on all stages; those of the slowest where it is the only one."""
    if stages.whole is stages.slowest[0]:
        return slowest_seconds
    return _stage(stages.whole, heads, layout, rates, fitted)[0]


def _states(
    work: Work,
    widths: StateBytes,
    layout: Layout,
    device: Device,
    fitted: Coefficients,
    links: Links,
) -> tuple[Number, ...]:
    """(all, reduced once, gathered for each micro-batch, optimizer) seconds of a stage's states."""
    tensor, zero = layout.tensor, layout.zero_stage
    dense = work.trained_tensor / tensor + work.trained_whole
    expert = work.trained_expert / layout.expert_ways
    held = work.held_tensor / tensor + work.held_whole
    held_expert = work.held_expert / layout.expert_ways
    ranks = layout.data * layout.context
    dense_gather = gather_seconds_per_byte(ranks, tensor, links)
    expert_gather = gather_seconds_per_byte(layout.expert_shards, layout.expert_ways, links)
    once = widths.gradient + where(zero >= 1, widths.parameter, widths.gradient)
    reduced = where(zero >= 3, 0.0, once) * (dense * dense_gather + expert * expert_gather)
    each = where(zero >= 3, 1.0, 0.0)
    gathered = each * (
        (2.0 * widths.parameter * held + widths.parameter * dense) * dense_gather
        + (2.0 * widths.parameter * held_expert + widths.parameter * expert) * expert_gather
    )
    shards = where(zero >= 1, layout.shards, 1.0)
    expert_shards = where(zero >= 1, layout.expert_shards, 1.0)
    moved = widths.optimizer * (dense / shards + expert / expert_shards)
    optimizer = moved / (device.memory_bandwidth * fitted.memory_efficiency)
    return reduced + gathered + optimizer, reduced, gathered, optimizer
