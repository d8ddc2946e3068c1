"""What training keeps of each operator for the backward pass, in bytes.

Two implementations are described. `modules`: PyTorch modules as transformers writes them, where
autograd keeps every tensor that a primitive operation needs. `fused`: Megatron-style kernels,
where a norm keeps its input, a gated activation its input only, and flash attention its inputs,
output and one fp32 number a head and position (Korthikanti et al. 2022, arXiv 2205.05198,
section 4, for the unfused layer).

A rule returns bytes for ONE position of the operator's stream, by how tensor parallelism divides
them. The tensors that two neighbours share are counted by the one that comes second: a linear
layer counts its input unless the operator before it already keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.core.architecture.network import Placed
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
from service.core.formats import Formats
from service.core.parallelism import Kernels


class Kept(NamedTuple):
    """Bytes kept for one position of a stream."""

    tensor: float = 0.0
    """Divided by the tensor-parallel degree."""
    key_value: float = 0.0
    """Divided up to the number of key-value heads."""
    whole: float = 0.0
    """Divided by sequence parallelism only."""
    pair: float = 0.0
    """Bytes for one (query, key) pair; divided by the tensor-parallel degree."""
    input: float = 0.0
    """Bytes for one INPUT position where the operator changes the number of positions."""

    def plus(self, other: Kept) -> Kept:
        """The sum, part by part."""
        return Kept(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def elements(self) -> float:
        """All bytes of a position, pairs aside."""
        return self.tensor + self.key_value + self.whole


@dataclass(frozen=True)
class Flow:
    """What is known of the tensor that an operator receives."""

    kept: bool = False
    """The operator before keeps it."""
    width: float = 0.0
    """Bytes an element."""


@dataclass(frozen=True)
class Context:
    """The choices that rules depend on."""

    kernels: Kernels
    formats: Formats

    @property
    def modules(self) -> bool:
        """PyTorch modules rather than fused kernels."""
        return self.kernels.implementation == "modules"


Rule = Callable[[Any, Placed, Context, Flow], tuple[Kept, Flow]]


def kept(leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    """What autograd keeps of a leaf, and the tensor it hands on."""
    rule = RULES.get(type(leaf.operator))
    if rule is None:
        return Kept(), Flow(False, context.formats.compute)
    return rule(leaf.operator, leaf, context, flow)


def _of(split: Split | str, amount: float) -> Kept:
    if split == Split.TENSOR:
        return Kept(tensor=amount)
    return Kept(key_value=amount) if split == Split.KEY_VALUE else Kept(whole=amount)


def _linear(op: Linear, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    out = Flow(False, context.formats.compute)
    if leaf.frozen:
        return Kept(), out
    cast_each_time = context.formats.autocast and context.modules and flow.width > 2
    if flow.kept and not cast_each_time:
        return Kept(), out
    if not op.keeps_input and not cast_each_time:
        return Kept(), out
    amount = context.formats.product_input * op.inputs
    return (Kept(tensor=amount) if op.split == "row" else Kept(whole=amount)), out


def _norm(op: Norm, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    formats = context.formats
    width = float(op.width * op.copies)
    out = Flow(False, formats.residual)
    if not context.modules:
        return _of(op.split, formats.residual * width + 8.0 * op.copies), out
    if op.kind == "rms":
        weight = formats.residual * width if op.weight and not leaf.frozen else 0.0
        return _of(op.split, 4.0 * width + weight + 4.0 * op.copies), out
    if op.kind == "batch":
        return _of(op.split, formats.residual * width), out
    return _of(op.split, formats.residual * width + 8.0 * op.copies), out


_PLAIN_TENSORS: Mapping[str, float] = {
    "gelu_new": 4.0,
    "gelu_fast": 4.0,
    "quick_gelu": 2.0,
    "relu": 0.0,
    "sigmoid": 0.0,
    "tanh": 0.0,
    "relu2": 1.0,
}
"""Tensors kept beside the output, which the next product keeps: an element-wise function keeps
its input, `relu` its output, and formulas written out in Python every factor."""


def _activation(op: Activation, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    tensors = _PLAIN_TENSORS.get(op.kind, 1.0) if context.modules else 1.0
    if op.gated:
        tensors = tensors + 2.0 if context.modules else 2.0
    return _of(op.split, tensors * e * op.width), Flow(False, e)


def _dropout(op: Dropout, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    mask = 1.0 * op.width if op.probability > 0 else 0.0
    return _of(op.split, mask), Flow(False, flow.width)


def _attention(op: Attention, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    queries = e * op.heads * op.key_dim
    keys = e * op.key_value_heads * (op.key_dim + op.value_dim)
    if context.kernels.attention == "eager":
        keys = e * op.heads * (op.key_dim + op.value_dim) if context.modules else keys
        return Kept(queries, keys, 0.0, _score_bytes(op, context)), Flow(False, e)
    output = (e * op.value_dim + 4.0) * op.heads
    return Kept(tensor=queries + output, key_value=keys), Flow(True, e)


def _score_bytes(op: Attention, context: Context) -> float:
    e = context.formats.compute
    softmax = e
    if context.modules and op.softmax_fp32 and e < 4.0:
        softmax = 4.0 + e
    dropout = 1.0 + e if op.dropout > 0 else 0.0
    return op.heads * (softmax + dropout)


def _convolution(op: Convolution, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    amount = e * op.inputs * op.input_positions
    keeps = op.keeps_input and not leaf.frozen and not flow.kept
    return Kept(whole=amount if keeps else 0.0), Flow(False, e)


def _scan(op: Scan, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    return Kept(tensor=4.0 * e * op.width), Flow(False, e)


def _nothing(op: Operator, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    return Kept(), Flow(False, context.formats.residual)


RULES: Mapping[type[Operator], Rule] = {
    Linear: _linear,
    Norm: _norm,
    Activation: _activation,
    Dropout: _dropout,
    Attention: _attention,
    Convolution: _convolution,
    Scan: _scan,
    Embedding: _nothing,
    Pool: _nothing,
    Rotary: _nothing,
}
