"""Total and non-embedding parameters (Pearce & Song 2024, arXiv 2406.12907).

N_total = N + omega N^(1/3): embeddings grow with the width, the body with its cube at a fixed
shape. omega is of a 32,000-entry vocabulary and an aspect ratio of 39.2 (the authors' script).
"""

from __future__ import annotations

from service.core.numeric import Number, exp, log, sqrt
from service.core.scaling_laws.law import Law
from service.core.scaling_laws.laws import DEFAULT_LAW, find_law

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


def local_growth(non_embedding: Number, law: str | Law = DEFAULT_LAW) -> Number:
    """The exponent of N in C that a law shows at a size, when both are counted as Kaplan did."""
    form = find_law(law).additive
    body, embedding = non_embedding, EMBEDDING_SCALE * non_embedding ** (1.0 / 3.0)
    elasticity = _elasticity(body, embedding)
    change = (body + embedding / 9.0) / (body + embedding / 3.0) - elasticity
    tokens_growth = (form.parameter_exponent * elasticity - change) / form.token_exponent
    return 1.0 / (1.0 + tokens_growth)


def mean_growth(smallest: Number, largest: Number, law: str | Law = DEFAULT_LAW) -> Number:
    """The same exponent over a range of sizes: ln(N2 / N1) / ln(C2 / C1) of its two ends."""
    rise = log(largest / smallest)
    data = _optimal_tokens(largest, law) / _optimal_tokens(smallest, law)
    return rise / (rise + log(data))


def _optimal_tokens(non_embedding: Number, law: str | Law) -> Number:
    """D at which N is optimal for C = 6 N D with N counted without embeddings.

    Minimising L(N_total(N), D) gives alpha A N_total^-alpha e = beta B D^-beta, with
    e = d ln N_total / d ln N.
    """
    form = find_law(law).additive
    embedding = EMBEDDING_SCALE * non_embedding ** (1.0 / 3.0)
    size_term = (
        form.parameter_exponent
        * form.parameter_coefficient
        * (non_embedding + embedding) ** -form.parameter_exponent
        * _elasticity(non_embedding, embedding)
    )
    return (form.token_exponent * form.token_coefficient / size_term) ** (1.0 / form.token_exponent)


def _elasticity(body: Number, embedding: Number) -> Number:
    """The elasticity d ln N_total / d ln N."""
    return (body + embedding / 3.0) / (body + embedding)
