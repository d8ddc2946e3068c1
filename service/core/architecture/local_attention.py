"""What attention within a window keeps where a family writes it in blocks or in chunks.

Each query meets a fixed number of keys, however long the sequence is. Source: transformers 5.23.0,
`models/longt5/modeling_longt5.py` and `models/longformer/modeling_longformer.py`, traced.
"""

from __future__ import annotations

from typing import NamedTuple

from service.core.architecture.operators import Attention


class Written(NamedTuple):
    """Elements that one position of a windowed attention keeps, by what they are."""

    keys: float
    """Scores of one head."""
    padded: float
    """Probabilities of one head as the product with the values keeps them."""
    key_copies: float
    value_copies: float
    inputs: float
    """Copies of the stream beside the one that the products share."""


def in_blocks(window: int) -> Written:
    """LongT5: a block of half the window meets itself and both neighbours."""
    keys = 3.0 * ((window + 1) // 2)
    return Written(keys, keys, 3.0, 3.0, 0.0)


def in_chunks(window: int) -> Written:
    """Longformer: chunks of half the window, overlapping for the values.

    Probabilities are padded so that a chunk's rows can be read as a shifted matrix; queries, keys
    and values each transpose the stream first.
    """
    return Written(float(window), (3.0 * window + 1.0) / 2.0, 1.0, 3.0, 2.0)


WAYS = {"blocks": in_blocks, "chunks": in_chunks}


def score_bytes(op: Attention, written: Written, e: float) -> float:
    """Bytes of scores of one position: an fp32 softmax, dropout's mask, and the product's input."""
    return op.heads * (4.0 * written.keys + _product_bytes(op, written, e))


def backward_bytes(op: Attention, written: Written, e: float) -> float:
    """Gradients of the scores of one position, on either side of the softmax.

    What the product with the values kept is free by then.
    """
    made = 8.0 * written.keys - _product_bytes(op, written, e)
    return op.heads * max(written.padded * e, made)


def _product_bytes(op: Attention, written: Written, e: float) -> float:
    mask = 1.0 if op.dropout > 0 else 0.0
    copied = e < 4.0 or op.dropout > 0 or written.padded > written.keys
    return mask * written.keys + (e * written.padded if copied else 0.0)
