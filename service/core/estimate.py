"""One training job from end to end: memory, time, money, energy and carbon from one description.

`prepare` folds the network and looks up what the named choices decide; `evaluate` is arithmetic
on numbers alone, so the same lines answer one request (floats) and a sweep (arrays).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from service.core import compute, energy, memory, offload, throughput
from service.core.architecture.network import Network
from service.core.cluster_calibration import Corrections
from service.core.energy import PowerEnvelope
from service.core.hardware import Accelerator, Device
from service.core.memory import MemoryParts, MemoryTable
from service.core.numeric import Number, maximum, minimum, where
from service.core.offload import Host
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import Beside, StepItems, step_items, sum_of
from service.core.spending import ALONE, Accounting, Draw, Site, Spending, spending
from service.core.throughput import Coefficients, Stages, StateBytes, StepTime
from service.core.uncertainty import Interval, product, relative

FITS, AT_RISK, DOES_NOT_FIT = 0, 1, 2
ADMISSION = ("fits", "at_risk", "does_not_fit")
"""Names of the admission codes."""


@dataclass(frozen=True)
class Prepared:
    """What the model, the named choices and the accelerator decide of a job."""

    memory_stages: Sequence[tuple[MemoryTable, Number]]
    """The pipeline stages of which one needs most, with their indices."""
    work: Stages
    state_bytes: StateBytes
    device: Device
    coefficients: Coefficients
    envelope: PowerEnvelope
    power_slope: Number
    card_kgco2e: Interval
    sample_flops: Number
    """Model FLOPs of one sample, forward and backward, causal attention at half."""
    recomputed_flops: Number
    """FLOPs of one sample that recomputation repeats."""
    sequence_length: Number
    tokens_per_sample: Number
    memory_bounds: tuple[Number, Number]
    time_bounds: tuple[Number, Number]
    """Log-ratios of the calibrated 90 % intervals."""
    power_residual: Interval
    """Observed over predicted power."""
    memory_factor: Number = 1.0
    time_factor: Number = 1.0
    """What a cluster's own runs multiply the peak and the step by."""
    host: Host | None = None
    """What is kept in host memory; None where nothing is."""
    beside: Beside | None = None
    """What the objective adds to a step; None where one sequence a sample is trained."""


@lru_cache(maxsize=256)
def prepare(
    network: Network,
    kernels: Kernels,
    accelerator: Accelerator,
    pipeline: int,
    sequence_length: float,
) -> Prepared:
    """Fold and look up; floats."""
    flops = compute.table(network)
    forward = flops.forward(sequence_length)
    repeated = kernels.recomputed * forward
    if kernels.recomputation == "selective":
        repeated = flops.attention.at(sequence_length)
    return Prepared(
        memory_stages=memory_stages(network, kernels, pipeline),
        work=throughput.stages(network, kernels, pipeline, sequence_length),
        state_bytes=throughput.state_bytes(kernels),
        device=throughput.device(accelerator, kernels.compute_format),
        coefficients=throughput.coefficients(accelerator, kernels),
        envelope=energy.power_envelope(
            accelerator.name, accelerator.tdp_watts, accelerator.idle_watts
        ),
        power_slope=energy.power_slope(kernels.compute_format),
        card_kgco2e=_card(accelerator),
        sample_flops=flops.training(sequence_length),
        recomputed_flops=repeated,
        sequence_length=sequence_length,
        tokens_per_sample=sequence_length if network.tokens else 1.0,
        memory_bounds=memory_bounds(network, kernels),
        time_bounds=throughput.bounds(accelerator, throughput.has_experts(network)),
        power_residual=energy.power_residual(),
        host=offload.host(kernels.offload, accelerator),
    )


def memory_stages(
    network: Network, kernels: Kernels, pipeline: int
) -> tuple[tuple[MemoryTable, float], ...]:
    """The stages of which one needs most, folded; floats."""
    stages = memory.stages_that_can_win(network, pipeline)
    return tuple(
        (memory.tables(network, kernels, pipeline, stage), float(stage)) for stage in stages
    )


def memory_bounds(network: Network, kernels: Kernels) -> tuple[float, float]:
    """Log-ratios of the measured jobs of one class: how far memory may be off."""
    stored_wide = network.stored in ("fp32", "bf16", "fp16", "fp8")
    return memory.bounds(kernels.implementation if stored_wide else "quantised")


def _card(accelerator: Accelerator) -> Interval:
    low, central, high = accelerator.embodied_kgco2e
    return Interval(central, low, high)


def corrected(job: Prepared, own: Corrections) -> Prepared:
    """The job as a cluster's own runs correct it; floats."""
    if own.memory is not None:
        bounds = (own.memory.low, own.memory.high)
        job = replace(job, memory_factor=own.memory.factor, memory_bounds=bounds)
    if own.time is not None:
        bounds = (own.time.low, own.time.high)
        job = replace(job, time_factor=own.time.factor, time_bounds=bounds)
    if own.power is not None:
        residual = relative(own.power.factor, own.power.low, own.power.high)
        job = replace(job, power_residual=residual)
    return job


class Estimate(NamedTuple):
    """The answer for a training job; floats, or arrays of one shape in a sweep."""

    memory: MemoryParts
    peak_bytes: Interval
    capacity_bytes: Number
    stage: Number
    """Index of the pipeline stage whose devices need most."""
    admission: Number
    """FITS, AT_RISK or DOES_NOT_FIT."""
    step: StepTime
    step_seconds: Interval
    step_items: StepItems
    tokens_per_second_per_device: Interval
    model_flops_utilization: Interval
    wall_clock_seconds: Interval
    device_hours: Interval
    draw: Draw
    spent: Spending

    @property
    def margin_bytes(self) -> Number:
        """Capacity less the expected peak."""
        return self.capacity_bytes - self.peak_bytes.value


def evaluate(
    job: Prepared,
    layout: Layout,
    tokens: Number,
    site: Site,
    usd_per_device_hour: Number,
    accounting: Accounting = ALONE,
    held: tuple[MemoryParts, Number] | None = None,
) -> Estimate:
    """The whole estimate of a prepared job; floats or arrays.

    `held`: the outcome of `worst_memory` where it is known already.
    """
    parts, stage = held or worst_memory(job, layout)
    peak = relative(parts.peak * job.memory_factor, *job.memory_bounds)
    step, items = timed(job, layout)
    seconds = items.total
    sequences, models, repeated = _work(job)
    batch = layout.global_batch_size * sequences
    step_tokens = batch * job.tokens_per_sample
    at_peak = layout.devices * job.device.peak_flops
    utilization = minimum_of(seconds.inverse(batch * models * job.sample_flops / at_peak), 1.0)
    steps = tokens / step_tokens
    wall_clock = product(seconds, throughput.billed_factor(layout, job.device)).times(steps)
    hours = wall_clock.times(layout.devices / 3600.0)
    draw = Draw(
        job.envelope,
        minimum_of(utilization.times(1.0 + repeated), 1.0),
        job.power_slope,
        job.card_kgco2e,
        minimum(step.compute_seconds / step.total_seconds, 1.0),
        job.power_residual,
    )
    return Estimate(
        memory=parts,
        peak_bytes=peak,
        capacity_bytes=job.device.memory_bytes,
        stage=stage,
        admission=admission(peak, job.device.memory_bytes),
        step=step,
        step_seconds=seconds,
        step_items=items,
        tokens_per_second_per_device=seconds.inverse(step_tokens / layout.devices),
        model_flops_utilization=utilization,
        wall_clock_seconds=wall_clock,
        device_hours=hours,
        draw=draw,
        spent=spending(hours, draw, site, usd_per_device_hour, accounting),
    )


def _work(job: Prepared) -> tuple[Number, Number, Number]:
    """Sequences of a sample and models trained; FLOPs that train nothing over those that do."""
    repeated = job.recomputed_flops / maximum(job.sample_flops, 1.0)  # a norm alone has no FLOPs
    beside = job.beside
    if beside is None:
        return 1.0, 1.0, repeated
    passed = beside.forward * beside.forward_share / (beside.sequences * beside.models)
    return beside.sequences, beside.models, repeated + (1.0 + repeated) * passed


def timed(job: Prepared, layout: Layout) -> tuple[StepTime, StepItems]:
    """Seconds of training the sequences of a step once, and of all that a step consists of."""
    beside = job.beside
    at = layout if beside is None else beside.layout(layout)
    step = throughput.step(job.work, job.state_bytes, at, job.device, job.coefficients)
    seconds, updated = _trained(job, step, at)
    if beside is None:
        return step, StepItems(seconds, seconds, host=updated)
    forward = beside.forward_seconds(step, layout) * job.time_factor
    return step, step_items(
        seconds.times(beside.models),
        relative(forward, *job.time_bounds),
        beside.rollout,
        None if updated is None else updated.times(beside.models),
    )


def _trained(job: Prepared, step: StepTime, layout: Layout) -> tuple[Interval, Interval | None]:
    """Seconds of training one model, and of those the host's; None where it has no part."""
    if job.host is None:
        return relative(step.total_seconds * job.time_factor, *job.time_bounds), None
    rate = job.device.memory_bandwidth * job.coefficients.memory_efficiency
    held = step.optimizer_seconds * rate / job.state_bytes.optimizer
    found = offload.moved(job.host, step, layout, held, job.device.devices_per_node)
    devices = relative(found.device * job.time_factor, *job.time_bounds)
    updated = found.host.times(job.time_factor)
    return sum_of(devices, updated), updated


def worst_memory(job: Prepared, layout: Layout) -> tuple[MemoryParts, Number]:
    """The parts of the stage that needs most, and its index."""
    table, stage = job.memory_stages[0]
    sequence = job.sequence_length
    best = memory.per_device(table, layout, sequence, memory.in_flight(layout, stage))
    for table, index in job.memory_stages[1:]:
        other = memory.per_device(table, layout, sequence, memory.in_flight(layout, index))
        later = other.peak > best.peak
        best = MemoryParts(*(where(later, b, a) for a, b in zip(best, other, strict=True)))
        stage = where(later, index, stage)
    return best, stage


def admission(peak: Interval, capacity: Number) -> Number:
    """FITS where the whole interval is below the capacity, DOES_NOT_FIT where it is above."""
    return where(peak.high <= capacity, FITS, where(peak.low > capacity, DOES_NOT_FIT, AT_RISK))


def minimum_of(interval: Interval, limit: float) -> Interval:
    """The interval with nothing above the limit."""
    value, low, high = interval
    return Interval(minimum(value, limit), minimum(low, limit), minimum(high, limit))


def limited_by(parts: MemoryParts) -> str:
    """The largest part of the memory; floats only."""
    named = {
        "parameters": parts.parameters_bytes,
        "gradients": parts.gradients_bytes,
        "optimizer": parts.optimizer_bytes,
        "activations": parts.activations_bytes + parts.temporaries_bytes,
        "overhead": parts.overhead_bytes,
    }
    return max(named, key=lambda name: named[name])
