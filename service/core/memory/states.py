"""Bytes of parameters, gradients and optimizer states of one pipeline stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.architecture.operators import Convolution, Linear, Weight
from service.core.architecture.tree import Placed
from service.core.finetuning import HEAD_TOO
from service.core.formats import Formats
from service.core.memory.saved import Shares
from service.core.numeric import Number
from service.core.optimizers import state_bytes, step_copies
from service.core.parallelism import Kernels
from service.core.weight_formats import matrix_size


@dataclass(frozen=True)
class SplitBytes:
    """Bytes by how model parallelism divides them."""

    tensor: Number
    key_value: Number
    whole: Number
    expert: Number
    key_value_heads: Number
    """Ways that key and value projections can be divided at most."""


NOTHING = SplitBytes(0.0, 0.0, 0.0, 0.0, 1.0)


class States(NamedTuple):
    """Bytes by how model parallelism divides them."""

    parameters: SplitBytes
    gradients: SplitBytes
    optimizer: SplitBytes
    """States and fp32 master copies."""
    step: SplitBytes
    """Temporaries of an optimizer step."""
    cached: SplitBytes
    """16-bit copies of the matrices that live from forward to backward under autocast."""
    weights: SplitBytes
    """All weights once, as a frozen copy for computing would hold them."""
    unit: SplitBytes
    """The largest layer at compute precision: what ZeRO-3 gathers at once."""
    scratch: SplitBytes
    """Fused gradient accumulation keeps one gradient-shaped tensor for each shape of product
    (Transformer Engine's placeholder gradients), at compute precision."""


class Tally:
    """A running sum of bytes by split."""

    def __init__(self) -> None:
        self.amounts = dict.fromkeys(("tensor", "key_value", "whole", "expert"), 0.0)

    def add(self, key: str, amount: float) -> None:
        """Adds bytes to one part."""
        self.amounts[key] += amount

    def total(self, key_value_heads: float = 1.0) -> SplitBytes:
        """The sum so far; how far it can be divided matters for what lasts."""
        return SplitBytes(**self.amounts, key_value_heads=key_value_heads)


def fold(network: Network, kernels: Kernels, formats: Formats, pipeline: int, stage: int) -> States:
    """The states of one stage. A tied head on a later stage holds its own copy."""
    same = replace(kernels, recomputation="none", recomputed_share=1.0)
    return _fold(network, same, formats, pipeline, stage)


@lru_cache(maxsize=512)
def _fold(
    network: Network, kernels: Kernels, formats: Formats, pipeline: int, stage: int
) -> States:
    """Folded once for every recomputation, since none changes what is held."""
    names = ("parameters", "gradients", "optimizer", "step", "cached", "weights")
    parts = {name: Tally() for name in names}
    units: dict[tuple[int | None, str], Tally] = {}
    scratch, shapes = Tally(), set[tuple[str, tuple[int, ...]]]()
    copies = step_copies(kernels.optimizer, kernels.implementation)
    for leaf, layers in network.stage(pipeline, stage):
        unit = units.setdefault((leaf.first_layer, leaf.path[1] if leaf.path[1:] else ""), Tally())
        for weight in leaf.weights():
            held = holds(weight, leaf, pipeline, stage)
            amounts = of_weight(weight, leaf, kernels, formats, network.stored)
            key, count = split_of(weight, leaf), float(leaf.weight_copies * layers)
            parts["cached"].add(key, amounts.cached * count)
            if not held:
                continue
            unit.add(key, formats.compute * weight.elements * leaf.weight_copies)
            parts["parameters"].add(key, amounts.stored * count)
            parts["weights"].add(key, min(amounts.stored, amounts.compute) * count)
            parts["gradients"].add(key, amounts.gradient * count)
            parts["optimizer"].add(key, amounts.optimizer * count)
            parts["step"].add(key, copies * amounts.trained * count)
            if (
                _has_placeholder(weight, leaf, kernels)
                and (leaf.operator.name, weight.shape) not in shapes
            ):
                shapes.add((leaf.operator.name, weight.shape))
                scratch.add(_divided(key), formats.compute * weight.elements)
    largest = max(units.values(), key=lambda unit: sum(unit.amounts.values()), default=Tally())
    heads = network.key_value_heads(pipeline, stage)
    totals = {name: tally.total(heads) for name, tally in parts.items()}
    return States(**totals, unit=largest.total(heads), scratch=scratch.total(heads))


def _has_placeholder(weight: Weight, leaf: Placed, kernels: Kernels) -> bool:
    product = isinstance(leaf.operator, Linear) and not leaf.operator.head
    return kernels.implementation == "fused" and product and weight.matrix and not leaf.frozen


def _divided(key: str) -> str:
    """One expert's product is on each rank that has experts."""
    return "whole" if key == "expert" else key


class WeightStates(NamedTuple):
    """Bytes that one weight tensor brings with it."""

    stored: float
    compute: float
    trained: float
    """Its parameters, where it is trained."""
    gradient: float
    optimizer: float
    cached: float


def of_weight(
    weight: Weight, leaf: Placed, kernels: Kernels, formats: Formats, stored: str
) -> WeightStates:
    """The states of one tensor. Adapters keep fp32 weights, gradients and states of their own."""
    linear = leaf.operator if isinstance(leaf.operator, Linear) else None
    if linear is not None and linear.adapter not in ("", "base"):
        formats = ADAPTER
    elements = float(weight.elements)
    held = _stored_bytes(weight, leaf, stored, formats)
    product = isinstance(leaf.operator, Linear | Convolution) and weight.name == "weight"
    cached = formats.cached_weight * elements if product else 0.0
    if leaf.frozen:
        return WeightStates(held, formats.compute * elements, 0.0, 0.0, 0.0, cached)
    states = state_bytes(weight, leaf, kernels.optimizer, formats)
    return WeightStates(
        held,
        formats.compute * elements,
        formats.parameter * elements,
        formats.gradient * elements,
        states + formats.master * elements,
        cached,
    )


ADAPTER = Formats(4, 4, 4, 4, 0, 4, 0, 4)
"""fp32 throughout: PEFT's default for adapters beside a 16-bit base."""


def holds(weight: Weight, leaf: Placed, pipeline: int, stage: int) -> bool:
    """Whether a stage stores the tensor."""
    return not weight.alias or leaf.copies_ties(pipeline, stage)


def split_of(weight: Weight, leaf: Placed) -> str:
    """The part of a `SplitBytes` that a weight belongs to."""
    return "expert" if leaf.routing else str(weight.split)


def is_quantised(weight: Weight, leaf: Placed, stored: str) -> bool:
    """Whether a frozen matrix is held in the network's stored format rather than in 16 bits."""
    if not leaf.frozen or not weight.matrix or not isinstance(leaf.operator, Linear):
        return False
    wide = stored.removesuffix(HEAD_TOO) in ("fp32", "bf16", "fp16")
    return not wide and (not leaf.operator.head or stored.endswith(HEAD_TOO))


def _stored_bytes(weight: Weight, leaf: Placed, stored: str, formats: Formats) -> float:
    """Bytes of one tensor: frozen matrices keep the format that the network is stored in."""
    if not leaf.frozen:
        return formats.parameter * weight.elements
    if is_quantised(weight, leaf, stored):
        return matrix_size(stored.removesuffix(HEAD_TOO))(*weight.shape[-2:])
    return formats.parameter * weight.elements


def scaled(count: SplitBytes, factor: Number) -> SplitBytes:
    """Each part times the factor."""
    return SplitBytes(
        count.tensor * factor,
        count.key_value * factor,
        count.whole * factor,
        count.expert * factor,
        count.key_value_heads,
    )


def sum_of(a: SplitBytes, b: SplitBytes) -> SplitBytes:
    """The sum, part by part; both of one stage."""
    return SplitBytes(
        a.tensor + b.tensor,
        a.key_value + b.key_value,
        a.whole + b.whole,
        a.expert + b.expert,
        a.key_value_heads,
    )


def on_device(amount: SplitBytes, share: Shares) -> Number:
    """Bytes on one rank of the model-parallel group."""
    dense = amount.tensor * share.tensor + amount.key_value * share.key_value + amount.whole
    return dense + amount.expert * share.expert


def sharded(amount: SplitBytes, share: Shares, dense: Number, expert: Number) -> Number:
    """Bytes on one rank of which ZeRO leaves the fractions `dense` and `expert`."""
    held = amount.tensor * share.tensor + amount.key_value * share.key_value + amount.whole
    return held * dense + amount.expert * share.expert * expert
