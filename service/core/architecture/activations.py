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
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from service.core.architecture.local_attention import WAYS, Written, score_bytes
from service.core.architecture.modules import LLAMA_LINE, Traits
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
from service.core.formats import Formats
from service.core.parallelism import Kernels


class Kept(NamedTuple):
    """Bytes for one position of a stream."""

    tensor: float = 0.0
    """Divided by the tensor-parallel degree."""
    key_value: float = 0.0
    """Divided up to the number of key-value heads."""
    whole: float = 0.0
    """Divided by sequence parallelism only."""
    pair: float = 0.0
    """Bytes for one (query, key) pair; divided by the tensor-parallel degree."""

    def plus(self, other: Kept) -> Kept:
        """The sum, part by part."""
        return Kept(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Flow:
    """What is known of the tensor that an operator receives."""

    kept: bool = False
    """The operator before keeps it."""
    width: float = 0.0
    """Bytes an element."""
    source: float = 0.0
    """Bytes an element of what the last product with an input of its own received."""
    source_kept: bool = False
    """That input is already kept."""
    previous: Placed | None = None
    product: int = 0
    """Outputs of the last product."""


@dataclass(frozen=True)
class Context:
    """The choices that rules depend on."""

    kernels: Kernels
    formats: Formats
    traits: Traits = LLAMA_LINE

    @property
    def modules(self) -> bool:
        """PyTorch modules rather than fused kernels."""
        return self.kernels.implementation == "modules"

    @property
    def attention(self) -> str:
        """The attention kernel that runs: some families write their scores out regardless."""
        chosen = self.kernels.attention
        regardless = self.modules and self.traits.written_out and chosen == "sdpa"
        return "eager" if regardless else chosen

    @property
    def casts(self) -> bool:
        """Each product makes a 16-bit copy of an fp32 input."""
        return self.formats.autocast and self.modules


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


def divided(split: Split | str, amount: float) -> Kept:
    """An amount in the part that its split names."""
    if split in (Split.TENSOR, "column"):
        return Kept(tensor=amount)
    return Kept(key_value=amount) if split == Split.KEY_VALUE else Kept(whole=amount)


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


def _attention(op: Attention, _leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    e = context.formats.compute
    if written := windowed(op, context):
        return _windowed(op, written, context), Flow(False, e)
    queries = e * op.heads * op.key_dim
    each = e * (op.key_dim + op.value_dim)
    expanded = op.heads * each if context.modules else 0.0
    if context.attention == "eager":
        scores = Kept(tensor=queries, pair=_score_bytes(op, context))
        return scores.plus(_keys(op, each, expanded)), Flow(False, e)
    copies = 2.0 if context.modules and context.traits.contiguous_queries and e < 4.0 else 1.0
    output = (copies * e * op.value_dim + 4.0) * op.heads
    wide = expanded if context.attention == "sdpa" and e > 2.0 else 0.0
    bias = e * op.heads * context.traits.score_bias if context.modules else 0.0
    kept_whole = Kept(tensor=_fused_rest(op, context, flow), pair=bias)
    saved = Kept(tensor=queries + output).plus(_keys(op, each, wide)).plus(kept_whole)
    return saved, Flow(True, e)


def windowed(op: Attention, context: Context) -> Written | None:
    """How a family writes this attention, where that is within a window of its own making."""
    way = WAYS.get(context.traits.windowed) if context.modules else None
    return way(op.window) if way and op.window else None


def _windowed(op: Attention, written: Written, context: Context) -> Kept:
    e = context.formats.compute
    recomputed = context.kernels.recomputation == "selective"
    scores = 0.0 if recomputed else score_bytes(op, written, e)
    queries = e * op.heads * op.key_dim
    each = written.key_copies * op.key_dim + written.value_copies * op.value_dim
    return Kept(scores + queries, e * each * op.key_value_heads, written.inputs * queries)


def _fused_rest(op: Attention, context: Context, flow: Flow) -> float:
    """Queries and keys before rotation, where the values are a view of one fused projection."""
    rotated = flow.previous is not None and isinstance(flow.previous.operator, Rotary)
    values = op.key_value_heads * op.value_dim
    fused = (op.heads + op.key_value_heads) * op.key_dim + values
    copied = op.key_value_heads == 1 or context.traits.copied_values
    if not context.modules or not rotated or copied or flow.product != fused:
        return 0.0
    return context.formats.compute * (fused - values)


def _keys(op: Attention, each: float, expanded: float) -> Kept:
    """Keys and values: one copy for each of their heads, or one for each query head."""
    if expanded and op.key_value_heads < op.heads:
        return Kept(tensor=expanded)
    return Kept(key_value=each * op.key_value_heads)


def _score_bytes(op: Attention, context: Context) -> float:
    """Bytes kept for one pair by attention that writes its scores out.

    The softmax keeps its result, in fp32 where it is computed so; the product with the values
    keeps the 16-bit copy of it, or dropout's result and mask.
    """
    e = context.formats.compute
    if not context.modules:
        return op.heads * (e + (1.0 + e if op.dropout > 0 else 0.0))
    further = (1.0 if context.traits.score_cap else 0.0) + context.traits.position_scores
    return op.heads * (sum(score_parts(op, context)) + further * e)


def score_parts(op: Attention, context: Context) -> tuple[float, float]:
    """Bytes of one score that the softmax keeps, and the product with the values beside it."""
    e = context.formats.compute
    wide = _softmax_is_wide(op, context)
    return 4.0 if wide else e, 1.0 + e if op.dropout > 0 else (e if wide else 0.0)


def _softmax_is_wide(op: Attention, context: Context) -> bool:
    """Whether 16-bit scores pass an fp32 softmax, as they always do under autocast."""
    if context.formats.compute >= 4.0:
        return False
    written_wide = op.softmax_fp32 and not context.traits.narrow_softmax
    return written_wide or context.formats.autocast


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
    Attention: _attention,
    Convolution: _convolution,
    Scan: _scan,
    Pool: _pool,
    Parameter: _parameter,
    Rotary: _rotary,
}
