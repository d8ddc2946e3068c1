"""Repeated data: what further epochs are worth, and the best size when unique tokens are scarce.

Muennighoff et al. 2023 (arXiv 2305.16264), equations 5 and 6; constants from the authors'
repository huggingface/datablations. The authors trust the trend, not the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.core.numeric import Number, exp, log, minimum, where
from service.core.scaling_laws.forms import FLOPS_PER_PARAMETER_TOKEN
from service.core.scaling_laws.law import Law
from service.core.scaling_laws.laws import find_law
from service.core.scaling_laws.roots import least

REPEATED_LAW = "muennighoff-2023"
TOKEN_DECAY = 15.387756
"""R_D*: repetitions after which the value of repeating data has fallen to 1/e."""
PARAMETER_DECAY = 5.309743
"""R_N*: the same for parameters beyond what the unique data supports."""


@dataclass(frozen=True, slots=True)
class RepeatedOptimum:
    """The best N and D at a budget with limited unique tokens; epochs is D over the unique.

    unlimited_loss: what the same budget reaches with all tokens unique.
    """

    parameters: Number
    tokens: Number
    epochs: Number
    effective_tokens: Number
    effective_parameters: Number
    loss: Number
    unlimited_loss: Number


def effective_tokens(tokens: Number, unique_tokens: Number) -> Number:
    """D' = U + U R* (1 - exp(-R / R*)), R = D / U - 1 repetitions (equation 5)."""
    return _saturating(tokens, minimum(unique_tokens, tokens), TOKEN_DECAY)


def supported_parameters(unique_tokens: Number, law: str | Law = REPEATED_LAW) -> Number:
    """U_N: the size for which the unique tokens are compute-optimal under a law."""
    form = find_law(law).form
    return form.optimum(form.flops_for_tokens(unique_tokens))[0]


def effective_parameters(
    parameters: Number, tokens: Number, unique_tokens: Number, law: str | Law = REPEATED_LAW
) -> Number:
    """N' = U_N + U_N R* (1 - exp(-R / R*)), R = N / U_N - 1 (equation 6)."""
    supported = supported_parameters(minimum(unique_tokens, tokens), law)
    return _saturating(parameters, minimum(supported, parameters), PARAMETER_DECAY)


def repeated_loss(
    parameters: Number, tokens: Number, unique_tokens: Number, law: str | Law = REPEATED_LAW
) -> Number:
    """The loss of N parameters on D tokens of which `unique_tokens` are distinct."""
    return find_law(law).additive.loss(
        effective_parameters(parameters, tokens, unique_tokens, law),
        effective_tokens(tokens, unique_tokens),
    )


def repeated_optimum(
    flops: Number, unique_tokens: Number, law: str | Law = REPEATED_LAW
) -> RepeatedOptimum:
    """The size that a budget in FLOPs trains best when data must be repeated.

    Repeated tokens keep their value longer than surplus parameters do, so scarce data calls for
    a smaller model and more epochs than the plain optimum.
    """
    law = find_law(law)
    form = law.additive
    free, data = form.optimum(flops)
    product = flops / FLOPS_PER_PARAMETER_TOKEN

    def loss(log_size: Number) -> Number:
        size = exp(log_size)
        return repeated_loss(size, product / size, unique_tokens, law)

    scarce = minimum(unique_tokens / data, 1.0)
    size = exp(least(loss, log(free * scarce) - 1.0, log(free) + 1.0))
    parameters = where(unique_tokens >= data, free, size)
    tokens = product / parameters
    return RepeatedOptimum(
        parameters=parameters,
        tokens=tokens,
        epochs=tokens / unique_tokens,
        effective_tokens=effective_tokens(tokens, unique_tokens),
        effective_parameters=effective_parameters(parameters, tokens, unique_tokens, law),
        loss=repeated_loss(parameters, tokens, unique_tokens, law),
        unlimited_loss=form.loss(free, data),
    )


def _saturating(amount: Number, unique: Number, decay: float) -> Number:
    return unique * (1.0 + decay * (1.0 - exp(-(amount / unique - 1.0) / decay)))
