"""Bytes of activations of one sample, by how parallelism divides them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.core.architecture.activations import kept
from service.core.architecture.kept import Context, Flow, Kept
from service.core.architecture.operators import Activation, Attention, Convolution, Linear, Norm
from service.core.architecture.polynomial import ZERO, Polynomial
from service.core.architecture.tree import Placed
from service.core.numeric import Number, minimum, where
from service.core.parallelism import Layout


class Shares(NamedTuple):
    """What one device holds of each part, worked out once for a layout and a sequence length."""

    sequence_length: Number
    local: Number
    """Tokens of a sample on one rank of the context group."""
    tensor: Number
    key_value: Number
    whole: Number
    """Of activations that sequence parallelism may divide."""
    border: Number
    """Of activations at the borders of experts: as many copies as expert-tensor ranks."""
    expert: Number
    """Of the weights of experts."""


def shares(layout: Layout, key_value_heads: Number, sequence_length: Number) -> Shares:
    """The shares of one device."""
    tensor = layout.tensor
    return Shares(
        sequence_length,
        sequence_length / layout.context,
        1.0 / tensor,
        1.0 / minimum(tensor, key_value_heads),
        where(layout.sequence_parallel > 0, 1.0 / tensor, 1.0),
        layout.expert_tensor / tensor,
        1.0 / layout.expert_ways,
    )


class Saved(NamedTuple):
    """Bytes of one sample as polynomials in the sequence length."""

    tensor: Polynomial = ZERO
    """Divided by the tensor-parallel degree; inside experts too."""
    key_value: Polynomial = ZERO
    whole: Polynomial = ZERO
    border: Polynomial = ZERO
    full: Polynomial = ZERO
    """On each tensor rank in full, whatever sequence parallelism."""

    def plus(self, other: Saved) -> Saved:
        """The sum, part by part."""
        return Saved(*map(Polynomial.plus, self, other))

    def scaled(self, factor: Number) -> Saved:
        """Each part times the factor."""
        return Saved(*[part.scaled(factor) for part in self])

    def on(self, share: Shares) -> Number:
        """Bytes of one sample on one device.

        The context group divides the sequence; each rank's queries still meet all keys.
        """
        s, local, tensor, key_value, whole, border, _ = share
        (f0, l0, q0), (f1, l1, q1), (f2, l2, q2), (f3, l3, q3), (f4, l4, q4) = self
        fixed = f0 * tensor + f1 * key_value + f2 * whole + f3 * border + f4
        linear = l0 * tensor + l1 * key_value + l2 * whole + l3 * border + l4
        square = q0 * tensor + q1 * key_value + q2 * whole + q3 * border + q4
        return fixed + local * (linear + square * s)


def total(leaves: Iterable[tuple[Placed, float]], context: Context) -> Saved:
    """All that is kept of the leaves, each with the number of layers that hold it."""
    result = Saved()
    members = list(leaves)
    amounts = traced([leaf for leaf, _ in members], context)
    for (_, layers), (_, amount) in zip(members, amounts, strict=True):
        result = result.plus(amount.scaled(layers))
    return result


def traced(
    leaves: Iterable[Placed], context: Context, entry: Flow | None = None
) -> list[tuple[Placed, Saved]]:
    """What is kept of each leaf, in the order in which data passes through them."""
    result: list[tuple[Placed, Saved]] = []
    flow = entry or Flow(False, context.formats.residual)
    for leaf in leaves:
        amount, flow = kept(leaf, context, flow)
        recomputed = context.kernels.recomputation == "selective"
        result.append((leaf, placed(leaf, amount, recomputed)))
    return result


def entered(leaves: Sequence[Placed], context: Context) -> Flow:
    """What a layer receives from one like it: a kept tensor where it ends in an activation."""
    flow = Flow(False, context.formats.residual)
    for leaf in leaves:
        _, flow = kept(leaf, context, flow)
    if leaves and isinstance(leaves[-1].operator, Activation):
        return Flow(flow.kept, flow.width)
    return Flow(False, context.formats.residual)


def placed(leaf: Placed, amount: Kept, recomputed: bool) -> Saved:
    """Bytes a position turned into bytes a sample, at the leaf's place in the tree.

    `recomputed`: attention's scores are not kept (Korthikanti et al. 2022, section 5).
    """
    uses = leaf.uses
    positions = leaf.stream.positions().scaled(uses)
    keys = (leaf.operator.keys if isinstance(leaf.operator, Attention) else None) or leaf.stream
    pairs = ZERO
    if amount.pair and not recomputed:
        pairs = leaf.stream.pairs(keys).scaled(uses * amount.pair)
    tensor = positions.scaled(amount.tensor).plus(pairs)
    if leaf.routing is not None:
        return Saved(tensor, border=positions.scaled(amount.whole))
    crossed = leaf.component == "cross_attention"
    keyed = (keys if crossed else leaf.stream).positions().scaled(uses * amount.key_value)
    return Saved(tensor, keyed, positions.scaled(amount.whole))


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
