"""The fold of a network into the work of one pipeline stage: what the time formula needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Embedding, Linear, Scan
from service.core.architecture.polynomial import Polynomial
from service.core.architecture.traffic import NOTHING, Choice, Moved, Passes, moved
from service.core.architecture.tree import Placed
from service.core.compute import FLASH_BACKWARD, attention_flops, sees_around, windowed_pairs
from service.core.formats import formats
from service.core.numeric import Number
from service.core.parallelism import Kernels

MISALIGNED = 3.0
"""Time of a product with a dimension that 16 bytes do not divide over that of an aligned one: an
unpadded vocabulary of 50257 runs at a third of the rate of 51200 on an A100 (vTrain's rows)."""

MISALIGNED_HEADS = 8.0
"""The same for scores that are written out, by the width of a head: 128 heads of 108 ran 1.45
times as long as 64 heads of 216 in all, at a hidden size of 13824 (BigScience's trials)."""


class Work(NamedTuple):
    """Work of one stage: sums over forward, backward and recomputation.

    Fields in the first group are for one sample of a set length, before model parallelism
    divides them; those in the second for one micro-batch; those in the third for one step.
    Floats, or arrays once stacked.
    """

    product_tensor: Number = 0.0
    """FLOPs that the tensor group divides."""
    product_key_value: Number = 0.0
    product_whole: Number = 0.0
    product_expert: Number = 0.0
    attention: Number = 0.0
    """FLOPs at 16 bits, masks taken into account."""
    head_product: Number = 0.0
    """FLOPs at 16 bits of the output projection."""
    io_tensor: Number = 0.0
    """Bytes that products read and write, their weights not counted."""
    io_whole: Number = 0.0
    io_expert: Number = 0.0
    io_expert_whole: Number = 0.0
    element_tensor: Number = 0.0
    """Bytes that element-wise kernels move."""
    element_whole: Number = 0.0
    element_expert: Number = 0.0
    element_expert_whole: Number = 0.0
    pairs: Number = 0.0
    """Bytes of attention matrices that are written out."""
    tensor_payload: Number = 0.0
    """Bytes that the tensor group sums over its ranks."""
    expert_payload: Number = 0.0
    """Bytes that tokens bring to their experts and back."""
    context_payload: Number = 0.0
    """Bytes of keys and values that the context group passes round."""
    boundary_payload: Number = 0.0
    """Bytes handed to the next stage and back."""

    weight_tensor: Number = 0.0
    """Bytes of weights read and gradients accumulated for each micro-batch."""
    weight_whole: Number = 0.0
    weight_expert: Number = 0.0
    kernels: Number = 0.0
    tensor_calls: Number = 0.0
    expert_calls: Number = 0.0

    held_tensor: Number = 0.0
    """Parameters held."""
    held_whole: Number = 0.0
    held_expert: Number = 0.0
    trained_tensor: Number = 0.0
    """Parameters trained."""
    trained_whole: Number = 0.0
    trained_expert: Number = 0.0

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """The sum with `times` the other, field by field."""
        return Work(*(a + times * b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class WorkTable:
    """The work of one stage for any sequence length."""

    fixed: Work
    """For one sample of no tokens (vision towers), and all that has nothing to do with samples."""
    linear: Work
    """For each token of a sample."""
    square: Work
    """For each token squared."""
    windowed: tuple[tuple[float, float], ...] = ()
    """(window in tokens, attention FLOPs a pair) of sliding-window attention."""
    key_value_heads: float = 1.0

    def at(self, sequence_length: Number) -> Work:
        """The work for samples of that length."""
        s = sequence_length
        work = Work(
            *(
                a + s * (b + s * c) if c else a + s * b if b else a
                for a, b, c in zip(self.fixed, self.linear, self.square, strict=True)
            )
        )
        if not self.windowed:
            return work
        attention = work.attention
        for window, per_pair in self.windowed:
            attention = attention + per_pair * windowed_pairs(s, window)
        return work._replace(attention=attention)


class _Sum(NamedTuple):
    fixed: dict[str, float]
    linear: dict[str, float]
    square: dict[str, float]
    windowed: dict[Any, float]

    def add(self, field: str, amount: Polynomial, times: float = 1.0) -> None:
        for target, part in zip((self.fixed, self.linear, self.square), amount, strict=True):
            if part:
                target[field] = target.get(field, 0.0) + part * times

    def add_windowed(self, window: float, per_pair: float) -> None:
        self.windowed[window] = self.windowed.get(window, 0.0) + per_pair

    def constant(self, field: str, amount: float) -> None:
        self.fixed[field] = self.fixed.get(field, 0.0) + amount

    def add_all(self, other: _Sum, times: int) -> None:
        for mine, theirs in zip(self, other, strict=True):
            for field, amount in theirs.items():
                mine[field] = mine.get(field, 0.0) + amount * times


@lru_cache(maxsize=512)
def table(network: Network, kernels: Kernels, pipeline: int = 1, stage: int = 0) -> WorkTable:
    """The work of one pipeline stage, folded once."""
    total = _Sum({}, {}, {}, {})
    choice = Choice(kernels, formats(kernels))
    for leaf, count in network.together(pipeline, stage):
        total.add_all(_once(leaf, choice, leaf.copies_ties(pipeline, stage)), count)
    total.add(
        "boundary_payload", Polynomial(0.0, 2.0 * choice.formats.residual * network.hidden_size)
    )
    return WorkTable(
        Work(**total.fixed),
        Work(**total.linear),
        Work(**total.square),
        tuple(sorted(total.windowed.items())),
        network.key_value_heads(pipeline, stage),
    )


@lru_cache(maxsize=2048)
def _once(leaf: Placed, choice: Choice, tied_copy: bool) -> _Sum:
    """The work of one leaf, the same on every stage; `tied_copy`: it holds a copy of its alias."""
    total = _Sum({}, {}, {}, {})
    _add_products(total, leaf, choice)
    _add_traffic(total, leaf, choice)
    _add_payloads(total, leaf, choice)
    _add_weights(total, leaf, choice, tied_copy)
    return total


def _again(leaf: Placed, kernels: Kernels) -> float:
    """Forward passes that recomputation adds."""
    return kernels.recomputed if leaf.first_layer is not None else 0.0


def _add_products(total: _Sum, leaf: Placed, choice: Choice) -> None:
    kernels = choice.kernels
    if isinstance(leaf.operator, Attention):
        _add_attention(total, leaf, choice)
        return
    passes = (2.0 if leaf.frozen else 3.0) + _again(leaf, kernels)
    each = leaf.operator.flops() * _penalty(leaf, choice)
    total.add(_kind(leaf), leaf.stream.positions().scaled(each * leaf.uses * passes))


def _penalty(leaf: Placed, choice: Choice) -> float:
    operator = leaf.operator
    if not isinstance(operator, Linear) or min(operator.inputs, operator.outputs) < 512:
        return 1.0
    aligned = _fills(operator.inputs, choice) and _fills(operator.outputs, choice)
    return 1.0 if aligned else MISALIGNED


def _fills(width: int, choice: Choice) -> bool:
    """Whether so many elements are whole groups of 16 bytes."""
    return width % round(16.0 / choice.formats.compute) == 0


def _kind(leaf: Placed) -> str:
    operator = leaf.operator
    if leaf.routing is not None:
        return "product_expert"
    if isinstance(operator, Scan):
        return "product_tensor"
    if not isinstance(operator, Linear) or operator.split == "none":
        return "product_whole"
    if operator.head:
        return "head_product"
    return "product_key_value" if operator.key_value_heads else "product_tensor"


def _add_attention(total: _Sum, leaf: Placed, choice: Choice) -> None:
    operator, kernels = leaf.operator, choice.kernels
    assert isinstance(operator, Attention)
    eager = kernels.attention == "eager"
    again = _again(leaf, kernels)
    if eager:
        passes = 3.0 + max(again, 1.0 if kernels.recomputation == "selective" else 0.0)
    else:
        passes = 1.0 + FLASH_BACKWARD + again
    passes *= MISALIGNED_HEADS if eager and not _fills(operator.key_dim, choice) else 1.0
    flops = attention_flops(leaf).scaled(passes)
    window, per_pair = operator.window, operator.pair_flops() * leaf.uses * passes
    if eager:
        total.add("attention", flops)
    elif window is not None and operator.causal:
        total.add_windowed(window, per_pair)
    elif window is not None and kernels.attention == "flash" and sees_around(leaf):
        total.add_windowed(0.5 * window, 2.0 * per_pair)
    else:
        total.add("attention", flops.scaled(0.5 if operator.causal else 1.0))


def _add_traffic(total: _Sum, leaf: Placed, choice: Choice) -> None:
    passes = moved(leaf, choice)
    if passes is NOTHING:
        return
    amount = _all_passes(leaf, passes, choice.kernels)
    positions = leaf.stream.positions().scaled(leaf.uses)
    expert = leaf.routing is not None
    total.add("io_expert" if expert else "io_tensor", positions, amount.io_tensor)
    total.add("io_expert_whole" if expert else "io_whole", positions, amount.io_whole)
    total.add("element_expert" if expert else "element_tensor", positions, amount.tensor)
    total.add("element_expert_whole" if expert else "element_whole", positions, amount.whole)
    repeats = leaf.uses / leaf.routing.active if leaf.routing else leaf.uses
    total.constant("kernels", amount.kernels * repeats)
    if amount.pair and isinstance(leaf.operator, Attention):
        keys = leaf.operator.keys or leaf.stream
        total.add("pairs", leaf.stream.pairs(keys).scaled(leaf.uses * amount.pair))


def _all_passes(leaf: Placed, passes: Passes, kernels: Kernels) -> Moved:
    amount = passes.forward.scaled(1.0 + _again(leaf, kernels)).plus(passes.backward)
    attention = isinstance(leaf.operator, Attention) and kernels.attention == "eager"
    if attention and kernels.recomputation == "selective":
        return amount.plus(passes.forward)
    return amount


def _add_payloads(total: _Sum, leaf: Placed, choice: Choice) -> None:
    operator, element = leaf.operator, choice.formats.compute
    passes = 2.0 + _again(leaf, choice.kernels)
    positions = leaf.stream.positions().scaled(leaf.uses * element)
    if isinstance(operator, Attention):
        width = operator.key_value_heads * (operator.key_dim + operator.value_dim)
        total.add("context_payload", positions, width * (1.0 + passes))
    elif isinstance(operator, Embedding) and operator.input:
        total.add("tensor_payload", positions, float(operator.width))
        total.constant("tensor_calls", 1.0)
    elif isinstance(operator, Linear) and operator.head:
        total.add("tensor_payload", positions, float(operator.inputs))
        total.constant("tensor_calls", 3.0)
    elif isinstance(operator, Linear) and operator.split == "row":
        kind = "expert" if leaf.routing else "tensor"
        ways = 2.0 if leaf.routing else 1.0
        total.add(f"{kind}_payload", positions, ways * passes * operator.outputs)
        total.constant(f"{kind}_calls", ways * passes)


def _add_weights(total: _Sum, leaf: Placed, choice: Choice, tied_copy: bool) -> None:
    widths = choice.formats
    reads = 2.0 + _again(leaf, choice.kernels)
    for weight in leaf.weights():
        kind = "expert" if leaf.routing else "whole" if weight.split == "whole" else "tensor"
        elements = float(weight.elements * leaf.weight_copies)
        if not isinstance(leaf.operator, Embedding):
            gradient = 0.0 if leaf.frozen else 2.0 * widths.gradient
            each = reads * widths.product_input + gradient
            total.constant(f"weight_{kind}", each * elements)
        if weight.alias and not tied_copy:
            continue
        total.constant(f"held_{kind}", elements)
        if not leaf.frozen:
            total.constant(f"trained_{kind}", elements)
