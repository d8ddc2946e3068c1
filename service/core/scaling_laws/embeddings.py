"""Total and non-embedding parameters (Pearce & Song 2024, arXiv 2406.12907).

N_total = N + omega N^(1/3): embeddings grow with the width, the body with its cube at a fixed
shape. omega is of a 32,000-entry vocabulary and an aspect ratio of 39.2 (the authors' script).
"""

from __future__ import annotations

from service.core.numeric import Number, exp, log, sqrt

EMBEDDING_SCALE = 47491.0
"""omega: embedding parameters for each cube root of a non-embedding parameter."""


def total_parameters(non_embedding: Number) -> Number:
    """N_total = N + omega N^(1/3)."""
    return non_embedding + EMBEDDING_SCALE * non_embedding ** (1.0 / 3.0)


def non_embedding_parameters(total: Number) -> Number:
    """The real root of x^3 + omega x = N_total, cubed: x = 2 sqrt(w/3) sinh(asinh(k) / 3)."""
    root = sqrt(EMBEDDING_SCALE / 3.0)
    scaled = 1.5 * total / (EMBEDDING_SCALE * root)
    third = log(scaled + sqrt(scaled * scaled + 1.0)) / 3.0
    return (root * (exp(third) - exp(-third))) ** 3
