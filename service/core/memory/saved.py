"""Bytes of activations of one sample, by how parallelism divides them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from service.core.architecture.activations import Context, Flow, Kept, kept
from service.core.architecture.network import Placed
from service.core.architecture.operators import Attention, Convolution, Linear, Norm
from service.core.architecture.polynomial import ZERO, Polynomial, Stream
from service.core.numeric import Number, minimum, where
from service.core.parallelism import Layout


class Saved(NamedTuple):
    """Bytes of one sample as polynomials in the sequence length."""

    tensor: Polynomial = ZERO
    key_value: Polynomial = ZERO
    whole: Polynomial = ZERO
    expert: Polynomial = ZERO
    """Inside experts, divided with their width."""
    expert_whole: Polynomial = ZERO
    """At the borders of experts: as many copies as expert-tensor ranks."""

    def plus(self, other: Saved) -> Saved:
        """The sum, part by part."""
        return Saved(*(a.plus(b) for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: Number) -> Saved:
        """Each part times the factor."""
        return Saved(*(part.scaled(factor) for part in self))

    def per_device(
        self, layout: Layout, key_value_heads: Number, sequence_length: Number
    ) -> Number:
        """Bytes of one sample on one device."""
        tensor, context = layout.tensor, layout.context
        local = sequence_length / context
        whole = where(layout.sequence_parallel > 0, tensor, 1.0)
        return (
            _share(self.tensor, sequence_length, local) / tensor
            + _share(self.key_value, sequence_length, local) / minimum(tensor, key_value_heads)
            + _share(self.whole, sequence_length, local) / whole
            + _share(self.expert, sequence_length, local) / tensor
            + _share(self.expert_whole, sequence_length, local) * layout.expert_tensor / tensor
        )


def _share(amount: Polynomial, sequence_length: Number, local: Number) -> Number:
    """The context group divides the sequence; each rank's queries still meet all keys."""
    return amount.fixed + local * (amount.linear + amount.square * sequence_length)


def total(leaves: Iterable[tuple[Placed, float]], context: Context) -> Saved:
    """All that is kept of the leaves, each with the number of layers that hold it."""
    result, flow = Saved(), Flow()
    for leaf, layers in leaves:
        amount, flow = kept(leaf, context, flow)
        result = result.plus(placed(leaf, amount, context).scaled(layers))
    return result


def placed(leaf: Placed, amount: Kept, context: Context) -> Saved:
    """Bytes a position turned into bytes a sample, at the leaf's place in the tree."""
    uses = leaf.uses
    positions = leaf.stream.positions().scaled(uses)
    pairs = ZERO
    if amount.pair and context.kernels.recomputation == "none":
        keys = leaf.operator.keys if isinstance(leaf.operator, Attention) else None
        pairs = leaf.stream.pairs(keys or leaf.stream).scaled(uses * amount.pair)
    tensor = positions.scaled(amount.tensor).plus(pairs)
    if leaf.routing is not None:
        return Saved(expert=tensor, expert_whole=positions.scaled(amount.whole))
    return Saved(tensor, positions.scaled(amount.key_value), positions.scaled(amount.whole))


def layer_input(leaf: Placed, residual: float) -> Saved:
    """The input of a layer: what full recomputation keeps of it."""
    operator = leaf.operator
    width = 0.0
    if isinstance(operator, Norm):
        width = float(operator.width * operator.copies)
    elif isinstance(operator, Linear):
        width = float(operator.inputs)
    elif isinstance(operator, Convolution):
        width = operator.inputs * operator.input_positions
    return Saved(whole=leaf.stream.positions().scaled(residual * width))


def widest(leaves: Iterable[Placed], element: float) -> Saved:
    """Gradients alive while the widest product of a layer runs backward: of its two sides."""
    best, result = 0.0, Saved()
    for leaf in leaves:
        operator = leaf.operator
        if not isinstance(operator, Linear) or operator.head:
            continue
        size = element * (operator.inputs + operator.outputs) * leaf.uses
        at = size * _size(leaf.stream)
        if at > best:
            best, result = at, _wide(operator, leaf, element)
    return result


def _wide(operator: Linear, leaf: Placed, element: float) -> Saved:
    positions = leaf.stream.positions().scaled(element * leaf.uses)
    outer, inner = operator.outputs, operator.inputs
    if operator.split == "column":
        divided, whole = positions.scaled(outer), positions.scaled(inner)
    elif operator.split == "row":
        divided, whole = positions.scaled(inner), positions.scaled(outer)
    else:
        divided, whole = ZERO, positions.scaled(inner + outer)
    if leaf.routing is not None:
        return Saved(expert=divided, expert_whole=whole)
    return Saved(tensor=divided, whole=whole)


def _size(stream: Stream) -> float:
    return stream.fixed + 2048.0 * stream.per_token
