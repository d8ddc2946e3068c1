"""Low precision in training and after it: Kumar et al. 2024 (arXiv 2411.04330), marked young.

Fitted on 465 runs of 30M to 220M parameters; the authors call their constants unlikely to be
useful elsewhere. Use the direction: below some 7 bits training loses parameters' worth, and the
longer a small model was trained the more it loses when quantised afterwards. The paper's fitted
form has an offset to each precision that its text does not define well enough to reproduce; the
plain form of its section 4 stands here.
"""

from __future__ import annotations

from service.core.numeric import Number, exp
from service.core.scaling_laws.forms import Additive

WEIGHT_SCALE = 2.6745
ACTIVATION_SCALE = 2.2102
CACHE_SCALE = 0.9578
"""gamma of weights, activations and KV cache, in bits (table 2)."""

KUMAR = Additive(2.7648, 4299.0, 18060.0, 0.4965, 0.4965)
"""E, A, B, alpha and beta of table 2."""

_QUANTISED = (0.0598, 0.5068, 0.3439, 0.5907)
"""C_T, gamma_D, gamma_N and gamma_post of table 2."""

PRECISION_WARNINGS = ("young", "trend_only")


def precision_parameters(
    parameters: Number,
    weight_bits: Number = 16.0,
    activation_bits: Number = 16.0,
    cache_bits: Number = 16.0,
) -> Number:
    """N_eff = N (1 - e^(-P_w / g_w)) (1 - e^(-P_a / g_a)) (1 - e^(-P_kv / g_kv)), in training."""
    return (
        parameters
        * (1.0 - exp(-weight_bits / WEIGHT_SCALE))
        * (1.0 - exp(-activation_bits / ACTIVATION_SCALE))
        * (1.0 - exp(-cache_bits / CACHE_SCALE))
    )


def low_precision_loss(
    parameters: Number,
    tokens: Number,
    weight_bits: Number = 16.0,
    activation_bits: Number = 16.0,
    cache_bits: Number = 16.0,
) -> Number:
    """Loss of a model trained in these precisions, on the paper's own scale."""
    effective = precision_parameters(parameters, weight_bits, activation_bits, cache_bits)
    return KUMAR.loss(effective, tokens)


def quantisation_loss(parameters: Number, tokens: Number, bits: Number) -> Number:
    """Loss added by quantising weights after training: C_T D^g_D / N^g_N e^(-P / g_post)."""
    scale, token_power, parameter_power, decay = _QUANTISED
    return scale * tokens**token_power / parameters**parameter_power * exp(-bits / decay)
