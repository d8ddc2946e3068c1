"""Learning rate and batch size for a budget: DeepSeek LLM (arXiv 2401.02954), equation 1.

Fitted on budgets of 1e17 to 2e19 FLOPs, C = M D with M the non-embedding FLOPs a token.
"""

from __future__ import annotations

from service.core.numeric import Number

FITTED_FLOPS = (1e17, 2e19)


def learning_rate(flops: Number) -> Number:
    """0.3118 C^-0.1250."""
    return 0.3118 * flops**-0.1250


def batch_tokens(flops: Number) -> Number:
    """0.2920 C^0.3271 tokens in a batch."""
    return 0.2920 * flops**0.3271


def optimal_model_scale(flops: Number) -> Number:
    """M = 0.1715 C^0.5243 FLOPs a token (equation 4)."""
    return 0.1715 * flops**0.5243
