"""What attention keeps: its scores where they are written out, else its inputs and output."""

from __future__ import annotations

from service.core.architecture.kept import Context, Flow, Kept
from service.core.architecture.local_attention import WAYS, Written, score_bytes
from service.core.architecture.operators import Attention, Rotary
from service.core.architecture.tree import Placed


def attention(op: Attention, _leaf: Placed, context: Context, flow: Flow) -> tuple[Kept, Flow]:
    """What attention keeps, and its output."""
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
