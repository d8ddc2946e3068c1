"""What recurrences keep for the backward pass where no kernel of their own runs them.

Without the `mamba_ssm` package transformers runs the recurrences in PyTorch, and autograd keeps
each step. Source: transformers 5.23.0, `models/mamba*/modeling_*.py`, traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.core.architecture.operators import Scan


def _selective_scan(op: Scan, e: float) -> float:
    """Mamba as transformers runs it without the `mamba_ssm` kernels.

    A loop over the tokens keeps the decay, the input and the state of each in fp32, and about
    five tensors of the stream's width.
    """
    narrow = e if e < 4.0 else 0.0
    return (12.0 + narrow) * op.state_elements + 22.0 * op.width


SCAN_CHUNK = 256.0
"""Tokens of a chunk in Mamba-2, as published configurations have it."""


def _chunked_scan(op: Scan, e: float) -> float:
    """Mamba-2 as transformers runs it without kernels.

    Within a chunk each pair of tokens has a decay, a product and their mixture in fp32, and each
    head five tensors of its state's width.
    """
    heads = op.shapes[0][0] if op.shapes else 1
    state = op.state_elements / op.width
    return 4.0 * heads * (3.0 * SCAN_CHUNK + 5.0 * state) + 43.0 * op.width


def _chunked_backward(op: Scan) -> float:
    """Mamba-2 gives back what a chunk kept as fast as it makes gradients.

    What is alive beside it are the fp32 gradients of the stream and its gate, in and out.
    """
    return 16.0 * op.width


BACKWARD: Mapping[str, Callable[[Scan], float]] = {"mamba2": _chunked_backward}
"""Bytes of gradients for one position; those not named make as much as they kept."""

WRITTEN_OUT: Mapping[str, Callable[[Scan, float], float]] = {
    "mamba": _selective_scan,
    "mamba2": _chunked_scan,
}
"""Bytes for one position by the kind of recurrence."""
