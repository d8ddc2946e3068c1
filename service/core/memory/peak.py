"""Peak memory of one device: states, activations in flight, temporaries, and the rest."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.memory.calibration import coefficients
from service.core.memory.saved import Shares, shares
from service.core.memory.states import on_device, sharded
from service.core.memory.tables import MemoryTable, tables
from service.core.numeric import Number, maximum, minimum, where
from service.core.parallelism import Kernels, Layout


class MemoryParts(NamedTuple):
    """Bytes on one device. The first three last; the others are those of the peak's phase."""

    parameters_bytes: Number
    gradients_bytes: Number
    optimizer_bytes: Number
    activations_bytes: Number
    """Kept when the last forward pass that is in flight ends."""
    temporaries_bytes: Number
    """What the peak holds beyond the other parts; less than 0 where it comes before gradients
    exist or after activations are gone."""
    overhead_bytes: Number
    """What no tensor shows: context, communication buffers, workspaces, fragmentation."""

    @property
    def allocated(self) -> Number:
        """The peak of tensors, as an allocator's statistics show it."""
        return (
            self.parameters_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.activations_bytes
            + self.temporaries_bytes
        )

    @property
    def peak(self) -> Number:
        """All memory that the job takes from the device."""
        return self.allocated + self.overhead_bytes


def in_flight(layout: Layout, stage: Number) -> Number:
    """Micro-batches whose activations one stage holds at once, in whole stages' worth.

    1F1B: the stage's distance to the last one, and one. Interleaved: `(2 (p - i - 1) +
    (v - 1) p + 1) / v`, which for the first stage is Korthikanti et al.'s `p + (p - 1) / v`
    (arXiv 2205.05198, section 5.2.3).
    """
    p, v = layout.pipeline, layout.interleave
    plain = p - stage
    chunks = 2.0 * (p - stage - 1.0) + (v - 1.0) * p + 1.0
    wanted = where(v > 1, chunks / v, plain)
    return minimum(wanted, layout.micro_batches)


def per_device(
    table: MemoryTable, layout: Layout, sequence_length: Number, in_flight: Number = 1.0
) -> MemoryParts:
    """The memory of one device of a stage.

    `in_flight`: micro-batches whose activations are held at once. The peak is the largest of
    the moments of the backward pass, and of the optimizer's step with all gradients made. ZeRO
    (Rajbhandari et al. 2020, arXiv 1910.02054, section 3) divides the optimizer states over the
    data-parallel ranks at stage 1, the gradients too at stage 2, the parameters too at stage 3.
    """
    share = shares(layout, table.key_value_heads, sequence_length)
    samples, held, zero = layout.micro_batch_size, table.states, layout.zero_stage
    dense, expert = 1.0 / layout.shards, 1.0 / layout.expert_shards
    first, second, third = (
        (where(zero >= stage, dense, 1.0), where(zero >= stage, expert, 1.0)) for stage in (1, 2, 3)
    )
    parameters = sharded(held.parameters, share, *third) * (1.0 - table.offload_parameters)
    gradients = sharded(held.gradients, share, *second)
    optimizer = sharded(held.optimizer, share, *first) * (1.0 - table.offload_optimizer)
    one = (table.layers.on(share) + table.outside.on(share)) * samples
    head = table.head.on(share) * samples
    activations = one * in_flight + head + on_device(held.cached, share)
    lasting = where(layout.micro_batches > 1, 1.0, table.lasting_gradients)
    backward = gradients
    for moment in table.moments:
        made = sharded(moment.gradients, share, *second)
        alive = moment.held.on(share) * samples + on_device(moment.weights, share)
        backward = maximum(backward, alive + made + lasting * (gradients - made))
    backward = backward + one * (in_flight - 1.0) + _gathered(table, layout, share)
    step = gradients + sharded(held.step, share, *first) * (1.0 - table.offload_optimizer)
    states = parameters + optimizer
    allocated = states + maximum(backward, step) + on_device(held.scratch, share)
    return MemoryParts(
        parameters,
        gradients,
        optimizer,
        activations,
        allocated - states - gradients - activations,
        overhead(allocated, layout) + table.outputs.on(share) * samples,
    )


def _gathered(table: MemoryTable, layout: Layout, share: Shares) -> Number:
    """The layers that ZeRO-3 or parameter offloading hold in full: one in use, one fetched."""
    apart = (layout.zero_stage >= 3) | (table.offload_parameters > 0)
    return where(apart, 2.0 * on_device(table.states.unit, share), 0.0)


def overhead(allocated: Number, layout: Layout) -> Number:
    """Context, communication buffers and fragmentation, as calibrated."""
    fitted = coefficients()
    communication = where(layout.devices > 1, fitted["communication_bytes"], 0.0)
    return fitted["context_bytes"] + communication + fitted["fragmentation"] * allocated


@lru_cache(maxsize=512)
def stages_that_can_win(network: Network, pipeline: int) -> tuple[int, ...]:
    """The last stage, and the earliest of those that hold the same layers.

    An earlier one holds more micro-batches at once, the first one the input beside.
    """
    last = pipeline - 1
    runs = [network.runs(pipeline, stage) for stage in range(last)]
    earliest: dict[object, int] = {}
    for stage, held in enumerate(runs):
        earliest.setdefault(tuple((id(leaves), count) for leaves, count in held), stage)
    return (*earliest.values(), last)


def worst_stage(
    network: Network, kernels: Kernels, layout: Layout, sequence_length: float
) -> tuple[MemoryParts, int]:
    """The stage whose device needs most, and its index. Floats only."""
    pipeline = int(layout.pipeline)
    worst: tuple[MemoryParts, int] | None = None
    for stage in stages_that_can_win(network, pipeline):
        table = tables(network, kernels, pipeline, stage)
        parts = per_device(table, layout, sequence_length, in_flight(layout, float(stage)))
        if worst is None or parts.peak > worst[0].peak:
            worst = (parts, stage)
    assert worst is not None
    return worst
