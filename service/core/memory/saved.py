"""Bytes of activations of one sample, by how parallelism divides them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.core.architecture.activations import Context, Flow, Kept, kept
from service.core.architecture.network import Placed
from service.core.architecture.operators import Activation, Attention, Convolution, Linear, Norm
from service.core.architecture.polynomial import ZERO, Polynomial
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
    full: Polynomial = ZERO
    """On each tensor rank in full, whatever sequence parallelism."""

    def plus(self, other: Saved) -> Saved:
        """The sum, part by part."""
        return Saved(*(a.plus(b) for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: Number) -> Saved:
        """Each part times the factor."""
        return Saved(*(part.scaled(factor) for part in self))

    def nominal(self, sequence_length: float) -> float:
        """Bytes of one sample on one device."""
        total: float = sum(part.at(sequence_length) for part in self)
        return total

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
            + _share(self.full, sequence_length, local)
        )


def _share(amount: Polynomial, sequence_length: Number, local: Number) -> Number:
    """The context group divides the sequence; each rank's queries still meet all keys."""
    return amount.fixed + local * (amount.linear + amount.square * sequence_length)


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
        return Saved(expert=tensor, expert_whole=positions.scaled(amount.whole))
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
