"""Memory traffic and kernels of each operator: what it reads and writes beside its arithmetic.

A rule says, for ONE position of the operator's stream, how many bytes its kernels move through
device memory in the forward and in the backward pass, and how many kernels run. Products move
their inputs and outputs (`io`), everything else is element-wise. Two implementations, as in
`activations`: `modules` (one kernel a primitive operation, as PyTorch runs transformers' modules)
and `fused` (Megatron-style or compiled: one kernel a norm, an activation, a residual addition).

The counts are read off the operations: a kernel reads its inputs and writes its outputs once.
For flash attention the traffic of its inputs and outputs only (Dao 2023, arXiv 2307.08691).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import add
from typing import Any, NamedTuple

from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Dropout,
    Embedding,
    Linear,
    Norm,
    Operator,
    Pool,
    Rotary,
    Scan,
    Split,
)
from service.core.architecture.tree import Placed
from service.core.formats import Formats
from service.core.parallelism import Kernels


class Moved(NamedTuple):
    """Bytes for one position in one pass, by how tensor parallelism divides them."""

    io_tensor: float = 0.0
    """Inputs and outputs of products, divided by the tensor-parallel degree."""
    io_whole: float = 0.0
    tensor: float = 0.0
    """Element-wise bytes, divided by the tensor-parallel degree."""
    whole: float = 0.0
    """Element-wise bytes, divided by sequence parallelism only."""
    pair: float = 0.0
    """Bytes for one (query, key) pair, divided by the tensor-parallel degree."""
    kernels: float = 0.0
    """Kernels in one pass, whatever the number of positions."""

    def plus(self, other: Moved) -> Moved:
        """The sum, part by part."""
        return Moved(*map(add, self, other))

    def scaled(self, factor: float) -> Moved:
        """Each part times the factor."""
        return Moved(*[a * factor for a in self])


class Passes(NamedTuple):
    """What one operator moves going forward and going backward."""

    forward: Moved = Moved()
    backward: Moved = Moved()

    def plus(self, other: Passes) -> Passes:
        """The sum, part by part."""
        return Passes(self.forward.plus(other.forward), self.backward.plus(other.backward))


NOTHING = Passes()


class Choice(NamedTuple):
    """The choices that rules depend on."""

    kernels: Kernels
    formats: Formats

    @property
    def modules(self) -> bool:
        """PyTorch modules rather than fused kernels."""
        return self.kernels.implementation == "modules"


Rule = Callable[[Any, Placed, Choice], Passes]


def moved(leaf: Placed, choice: Choice) -> Passes:
    """What a leaf moves for one position of its stream."""
    rule = RULES.get(type(leaf.operator), _nothing)
    return rule(leaf.operator, leaf, choice)


def _element_wise(
    split: Split | str, forward: float, backward: float, kernels: tuple[float, float]
) -> Passes:
    if split == Split.TENSOR:
        return Passes(
            Moved(tensor=forward, kernels=kernels[0]), Moved(tensor=backward, kernels=kernels[1])
        )
    return Passes(
        Moved(whole=forward, kernels=kernels[0]), Moved(whole=backward, kernels=kernels[1])
    )


def _linear(op: Linear, leaf: Placed, choice: Choice) -> Passes:
    """Products read operands of the compute format (8 bits under fp8) and write 16 or 32 bits."""
    read, write = choice.formats.product_input, choice.formats.compute
    forward = _sides(op, read, write)._replace(kernels=1.0)
    inputs = _sides(op, write, read)
    weights = Moved() if leaf.frozen else _sides(op, read, read)
    backward = inputs.plus(weights)._replace(kernels=2.0 if leaf.frozen else 3.0)
    found = Passes(forward, backward)
    for more in (_casts(op, choice), _after(op, leaf, choice)):
        found = found if more is NOTHING else found.plus(more)
    return found


def _sides(op: Linear, of_input: float, of_output: float) -> Moved:
    inputs, outputs = of_input * op.inputs, of_output * op.outputs
    if op.split == "column":
        return Moved(io_tensor=outputs, io_whole=inputs)
    if op.split == "row":
        return Moved(io_tensor=inputs, io_whole=outputs)
    return Moved(io_whole=inputs + outputs)


def _casts(op: Linear, choice: Choice) -> Passes:
    """8-bit products need a cast and a transposed copy of their inputs and gradients."""
    if not choice.kernels.precision.startswith("fp8") or op.head:
        return NOTHING
    return _element_wise(
        Split.TENSOR if op.split == "row" else Split.WHOLE,
        2.0 * op.inputs,
        2.0 * op.outputs,
        (1.0, 1.0),
    )


def _after(op: Linear, leaf: Placed, choice: Choice) -> Passes:
    """What follows a product: the loss, the residual sum, the gathering of routed tokens."""
    e, r = choice.formats.compute, choice.formats.residual
    if op.head:
        logits = 24.0 if choice.modules else 12.0
        return _element_wise(Split.TENSOR, logits * op.outputs, logits * op.outputs, (6.0, 6.0))
    if op.split != "row":
        return NOTHING
    if leaf.routing is not None:
        bytes_moved = 4.0 * e * op.outputs
        return _element_wise(Split.WHOLE, bytes_moved, bytes_moved, (8.0, 8.0))
    return _element_wise(Split.WHOLE, 3.0 * r * op.outputs, 3.0 * r * op.outputs, (1.0, 1.0))


def _norm(op: Norm, _: Placed, choice: Choice) -> Passes:
    e, r = choice.formats.compute, choice.formats.residual
    width = float(op.width * op.copies)
    if op.kind == "batch":
        return _element_wise(op.split, 3.0 * e * width, 5.0 * e * width, (1.0, 1.0))
    if choice.modules and op.kind == "rms":
        forward = (4.0 * r + 2.0 * e + 20.0) * width
        return _element_wise(op.split, forward, 2.0 * forward, (6.0, 12.0))
    return _element_wise(op.split, (r + e) * width, (2.0 * r + e) * width, (1.0, 2.0))


_WRITTEN_OUT: Mapping[str, float] = {"gelu_new": 8.0, "gelu_fast": 8.0, "quick_gelu": 3.0}
"""Functions that transformers writes out in Python: kernels of one forward pass."""


def _activation(op: Activation, _: Placed, choice: Choice) -> Passes:
    unit = choice.formats.compute * op.width
    inputs = 2.0 if op.gated else 1.0
    if not choice.modules:
        return _element_wise(op.split, (inputs + 1.0) * unit, (2 * inputs + 1.0) * unit, (1.0, 1.0))
    steps = _WRITTEN_OUT.get(op.kind, 1.0)
    forward, backward = 2.2 * steps, 3.0 * steps
    if op.gated:
        forward, backward, steps = forward + 3.0, backward + 6.0, steps + 1.0
    return _element_wise(op.split, forward * unit, backward * unit, (steps, 1.5 * steps))


def _dropout(op: Dropout, _: Placed, choice: Choice) -> Passes:
    """Fused implementations drop and add the residual in one kernel, which then moves a mask."""
    if op.probability <= 0:
        return NOTHING
    if not choice.modules:
        return _element_wise(op.split, 1.0 * op.width, 1.0 * op.width, (0.0, 1.0))
    unit = (2.0 * choice.formats.residual + 1.0) * op.width
    return _element_wise(op.split, unit, unit, (1.0, 1.0))


def _rotary(op: Rotary, _: Placed, choice: Choice) -> Passes:
    unit = choice.formats.compute * op.width
    if choice.modules:
        return _element_wise(Split.TENSOR, 11.0 * unit, 12.0 * unit, (10.0, 12.0))
    return _element_wise(Split.TENSOR, 2.0 * unit, 2.0 * unit, (2.0, 2.0))


def _attention(op: Attention, _: Placed, choice: Choice) -> Passes:
    e = choice.formats.compute
    queries = e * op.heads * (op.key_dim + op.value_dim)
    keys = e * op.key_value_heads * (op.key_dim + op.value_dim)
    if choice.kernels.attention != "eager":
        return Passes(
            Moved(tensor=queries + keys, kernels=1.0),
            Moved(tensor=2.5 * (queries + keys), kernels=3.0),
        )
    unit = float(op.heads)
    drop = 2.0 * e + 1.0 if op.dropout > 0 else 0.0
    forward, backward = 4.0 * e + drop, 6.0 * e + drop
    if choice.modules:
        forward += 4.0 * e + (10.0 if op.softmax_fp32 and e < 4.0 else 0.0)
        backward += 2.0 * e + (10.0 if op.softmax_fp32 and e < 4.0 else 0.0)
    return Passes(
        Moved(tensor=queries + keys, pair=forward * unit, kernels=8.0),
        Moved(tensor=2.0 * (queries + keys), pair=backward * unit, kernels=14.0),
    )


def _embedding(op: Embedding, _: Placed, choice: Choice) -> Passes:
    unit = choice.formats.residual * op.width
    return _element_wise(Split.WHOLE, 2.0 * unit, 3.0 * unit, (2.0, 2.0))


def _convolution(op: Convolution, leaf: Placed, choice: Choice) -> Passes:
    e = choice.formats.compute
    forward = Moved(io_whole=e * (op.inputs * op.input_positions + op.outputs), kernels=1.0)
    return Passes(forward, forward.scaled(1.0 if leaf.frozen else 2.0))


def _pool(op: Pool, _: Placed, choice: Choice) -> Passes:
    unit = choice.formats.compute * op.width * (op.input_positions + 1.0)
    return _element_wise(Split.WHOLE, unit, unit, (1.0, 1.0))


def _scan(op: Scan, _: Placed, choice: Choice) -> Passes:
    unit = choice.formats.compute * op.width
    return _element_wise(Split.TENSOR, 6.0 * unit, 12.0 * unit, (3.0, 6.0))


def _nothing(_: Operator, __: Placed, ___: Choice) -> Passes:
    return NOTHING


RULES: Mapping[type[Operator], Rule] = {
    Linear: _linear,
    Norm: _norm,
    Activation: _activation,
    Dropout: _dropout,
    Attention: _attention,
    Convolution: _convolution,
    Scan: _scan,
    Embedding: _embedding,
    Pool: _pool,
    Rotary: _rotary,
}
