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
from dataclasses import replace
from typing import Any

from service.core.architecture.attention_kept import attention
from service.core.architecture.kept import Context, Flow, Kept, divided
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Dropout,
    Linear,
    Norm,
    Operator,
    Parameter,
    Pool,
    Rotary,
    Scan,
    Split,
)
from service.core.architecture.scans import BACKWARD, WRITTEN_OUT
from service.core.architecture.tree import Placed

INDEX_BYTES = 8.0
"""PyTorch's indices are int64."""

Rule = Callable[[Any, Placed, Context, Flow], tuple[Kept, Flow]]


def kept(leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    """What autograd keeps of a leaf, and the tensor it hands on."""
    rule = RULES.get(type(leaf.operator), _nothing)
    amount, out = rule(leaf.operator, leaf, context, flow)
    if not out.source:
        out = replace(out, source=flow.source, source_kept=flow.source_kept)
    product = leaf.operator.outputs if isinstance(leaf.operator, Linear) else flow.product
    return amount, replace(out, previous=leaf, product=product)


def _linear(op: Linear, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    if op.adapter:
        return _adapter(op, context, flow)
    formats = context.formats
    sibling = not op.keeps_input or _beside(op, leaf, flow)
    crossed = leaf.component == "cross_attention" and op.key_value_heads is not None
    width = flow.source if sibling else (formats.residual if crossed else flow.width)
    held = crossed or (flow.source_kept if sibling else flow.kept)
    after = _expert_output(op, leaf, context)
    cast = context.casts and width > formats.compute
    if leaf.frozen:
        return after, Flow(False, formats.compute, width, held)
    out = Flow(False, formats.compute, width, not cast)
    if held and not cast:
        return after, out
    return after.plus(divided(input_split(op), formats.product_input * op.inputs)), out


def input_split(op: Linear) -> Split:
    """How tensor parallelism divides a product's input."""
    return Split.TENSOR if op.split == "row" else Split.WHOLE


def _adapter(op: Linear, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    """The two matrices of an adapter: each keeps its input, in its own number format.

    The first one reads what the frozen product beside it read: a copy of its own where dropout or
    a cast lies between, else the tensor that its siblings share.
    """
    e = context.formats.compute
    own = 2.0 if context.formats.autocast or op.adapter == "base" else 4.0
    own = max(own, e) if not context.formats.autocast else own
    first = op.name == "lora_A"
    dropped = flow.previous is not None and isinstance(flow.previous.operator, Dropout)
    shared = first and not dropped and own == flow.source
    out = Flow(False, e, flow.source, flow.source_kept or shared)
    if shared and flow.source_kept:
        return Kept(), out
    return divided(input_split(op) if first else Split.WHOLE, own * op.inputs), out


def _beside(op: Linear, leaf: Placed, flow: Flow) -> bool:
    """Whether a block that runs beside another one reads the same input (parallel layers)."""
    before = flow.previous
    if before is None or not isinstance(before.operator, Linear) or leaf.routing:
        return False
    return before.operator.split == "row" and op.split != "row" and before.path != leaf.path


def _expert_output(op: Linear, leaf: Placed, context: Context) -> Kept:
    """The output of an expert, which the product with its routing weight keeps."""
    if leaf.routing is None or op.split != "row" or not context.modules:
        return Kept()
    return Kept(whole=context.formats.compute * op.outputs)


def _norm(op: Norm, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    residual = context.formats.residual
    width = float(op.width * op.copies)
    inner = leaf.component == "attention" or op.kind == "batch"
    entry = flow.width if inner else residual
    out = Flow(False, entry)
    if not context.modules:
        return divided(op.split, residual * width + 8.0 * op.copies), out
    if op.kind != "rms":
        again = flow.kept or _same_residual(leaf, context, flow)
        statistics = 8.0 * op.copies if op.kind in ("layer", "group") else 0.0
        copy = 0.0 if again else context.traits.layer_norm(entry)
        return divided(op.split, copy * width + statistics), out
    weighted = op.weight and not leaf.frozen
    scaled = context.traits.norm_product(entry) if weighted else 0.0
    amount = (context.traits.norm_entry(entry) + scaled) * width + 4.0 * op.copies
    return divided(op.split, amount), out


def _same_residual(leaf: Placed, context: Context, flow: Flow) -> bool:
    """Two norms of one layer read the same stream where its halves run side by side."""
    return context.traits.twin_norms and flow.previous is not None and leaf.first_layer is not None


def _activation(op: Activation, _leaf: Placed, context: Context, _flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    if not context.modules:
        return divided(op.split, (2.0 if op.gated else 1.0) * e * op.width), Flow(False, e)
    amount, width = _elementwise(op.kind, e, context.formats.autocast)
    if op.kind == "gelu" and context.traits.gelu_copies:
        amount = context.traits.gelu_copies * e
    if op.gated:
        amount += e + width
    return divided(op.split, amount * op.width), Flow(op.kind == "relu", width)


def _elementwise(kind: str, e: float, autocast: bool) -> tuple[float, float]:
    """(bytes kept, bytes of the output) for one element of a function written in PyTorch.

    A built-in function keeps its input, `relu`, `tanh` and `sigmoid` their output. GPT-2's
    `gelu_new` is a formula whose factors are all kept; under autocast its power runs in fp32.
    """
    if kind in ("gelu_new", "gelu_fast", "gelu_python_tanh"):
        return (14.0, 4.0) if autocast else (4.0 * e, e)
    if kind == "quick_gelu":
        return 2.0 * e, e
    if kind == "relu2":
        return (e + 4.0, 4.0) if autocast else (e, e)
    return e, e


def _dropout(op: Dropout, _leaf: Placed, _context: Context, flow: Flow) -> tuple[Kept, Flow]:
    mask = 1.0 * op.width if op.probability > 0 else 0.0
    return divided(op.split, mask), Flow(False, flow.width)


def _convolution(op: Convolution, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    shared = _after_shortcut(leaf, flow)
    width = flow.source if shared else flow.width
    held = flow.source_kept if shared else flow.kept
    cast = context.casts and width > e
    out = Flow(False, e, width, True)
    if not op.keeps_input or leaf.frozen or (held and not cast):
        return Kept(), out
    return Kept(whole=e * op.inputs * op.input_positions), out


def _after_shortcut(leaf: Placed, flow: Flow) -> bool:
    """Whether the main path of a residual block begins, which reads what its shortcut read."""
    before = flow.previous
    return before is not None and before.component == "shortcut" != leaf.component


def _pool(op: Pool, _leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    if op.kind != "max":
        return Kept(), Flow(False, e)
    entry = 0.0 if flow.kept else e * op.input_positions
    return Kept(whole=(entry + INDEX_BYTES) * op.width), Flow(False, e)


def _scan(op: Scan, _leaf: Placed, context: Context, _flow: Flow) -> tuple[Kept, Flow]:
    return Kept(tensor=scan_bytes(op, context)), Flow(False, context.formats.compute)


def scan_bytes(op: Scan, context: Context) -> float:
    """What a recurrence keeps for one position; a fused kernel keeps its four streams."""
    e = context.formats.compute
    written_out = WRITTEN_OUT.get(op.kind) if context.modules else None
    return written_out(op, e) if written_out else 4.0 * e * op.width


def scan_backward_bytes(op: Scan, context: Context) -> float:
    """Gradients of activations that are alive while a recurrence runs backward."""
    made = BACKWARD.get(op.kind) if context.modules else None
    return made(op) if made else scan_bytes(op, context)


def _nothing(_op: Operator, _leaf: Placed, context: Context, _flow: Flow) -> tuple[Kept, Flow]:
    return Kept(), Flow(False, context.formats.residual)


def _rotary(_op: Rotary, _leaf: Placed, context: Context, _flow: Flow) -> tuple[Kept, Flow]:
    return Kept(), Flow(False, context.formats.compute)


def _parameter(op: Parameter, leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    """A trained scale of the stream keeps what it multiplies.

    ConvNeXt V2's response normalisation keeps its input and the scaled one.
    """
    copies = 0.0
    if context.modules and not leaf.frozen:
        scales = op.name.startswith(("layer_scale", "lambda")) and not flow.kept
        copies = 2.0 if op.name == "grn.weight" else float(scales)
    amount = copies * context.formats.compute * op.shape[-1]
    return Kept(whole=amount), Flow(False, context.formats.residual)


RULES: Mapping[type[Operator], Rule] = {
    Linear: _linear,
    Norm: _norm,
    Activation: _activation,
    Dropout: _dropout,
    Attention: attention,
    Convolution: _convolution,
    Scan: _scan,
    Pool: _pool,
    Parameter: _parameter,
    Rotary: _rotary,
}
