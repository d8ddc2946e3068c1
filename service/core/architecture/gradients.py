"""Gradients of activations that are alive while an operator runs backward."""

from __future__ import annotations

from service.core.architecture.activations import input_split, scan_backward_bytes
from service.core.architecture.attention_kept import score_parts, windowed
from service.core.architecture.kept import Context, Kept, divided
from service.core.architecture.local_attention import backward_bytes
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Linear,
    Norm,
    Scan,
)
from service.core.architecture.tree import Placed


def working(leaf: Placed, context: Context, hidden: float) -> Kept:
    """Gradients of activations alive while the leaf runs backward, for one position.

    Those of its output and its input, and the residual stream's, which waits (`hidden` wide).
    """
    operator, formats = leaf.operator, context.formats
    e, residual = formats.compute, formats.residual
    waiting = Kept(whole=residual * hidden)
    if isinstance(operator, Linear):
        inner = divided(input_split(operator), e * operator.inputs)
        if operator.split == "row":
            cast = e if context.casts else 0.0
            return inner.plus(Kept(whole=(residual + cast) * operator.outputs))
        return waiting.plus(inner).plus(divided(operator.split, e * operator.outputs))
    if isinstance(operator, Attention):
        return waiting.plus(_attention_backward(operator, context))
    if isinstance(operator, Activation):
        return waiting.plus(divided(operator.split, _activation_backward(operator, context)))
    if isinstance(operator, Convolution):
        sides = operator.inputs * operator.input_positions + operator.outputs
        return Kept(whole=e * sides)
    if isinstance(operator, Scan):
        return waiting.plus(Kept(tensor=scan_backward_bytes(operator, context)))
    if isinstance(operator, Norm):
        return waiting.plus(divided(operator.split, 2.0 * residual * operator.width))
    return waiting


def _attention_backward(op: Attention, context: Context) -> Kept:
    """Gradients beside attention.

    Scores run backward through the product with the values, which then frees what it kept, and
    through the softmax, which holds a gradient on either side.
    """
    e = context.formats.compute
    sides = 2.0 * e * op.heads * (op.key_dim + op.value_dim)
    if context.attention != "eager":
        return Kept(tensor=sides)
    if written := windowed(op, context):
        return Kept(tensor=sides + backward_bytes(op, written, e))
    softmax, product = score_parts(op, context)
    made = max(e, 2.0 * softmax - product) if context.modules else e + 2.0 * softmax
    return Kept(tensor=sides, pair=op.heads * made)


def _activation_backward(op: Activation, context: Context) -> float:
    product = op.gated or (context.modules and op.kind == "quick_gelu")
    sides = (3.0 if product else 2.0) * context.formats.compute
    written_out = context.modules and op.kind in ("gelu_new", "gelu_fast")
    return (sides + (8.0 if written_out else 0.0)) * op.width
