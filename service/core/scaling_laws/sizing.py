"""Is this the right size? A given model and token count against the optimum of the same compute.

A run counts as compute-optimal while its tokens a parameter lie within a factor of two of the
law's optimum for the compute it uses, or inside the law's own 90 % interval of that ratio where
that is wider: a factor of two in the ratio is 1.41 in size, which costs some 5 % of compute under
the default law, less than laws differ by. Mixtures of experts: pass the active parameters.
"""

from __future__ import annotations

from typing import NamedTuple

from service.core.numeric import Number, maximum, minimum, where
from service.core.scaling_laws.forms import INFINITE, Additive
from service.core.scaling_laws.law import Law, range_warnings
from service.core.scaling_laws.laws import DEFAULT_LAW, LAWS, find_law
from service.core.scaling_laws.optimum import Optimum, as_total, optimum, training_flops

TOLERANCE = 2.0
"""How far tokens a parameter may be from the optimum's, as a factor either way."""

_LISTED = tuple(law for law in LAWS.values() if law.listed)
_COMPARABLE = tuple(law for law in _LISTED if law.comparable)

FORWARD_FLOPS = 2.0
"""Inference FLOPs for each parameter and token."""


class Sizing(NamedTuple):
    """The verdict on a size.

    verdict: "undertrained", "compute_optimal" or "overtrained" (strings, or an array of them).
    factor: tokens a parameter over the optimum's at the same compute: 10 is ten times overtrained.
    loss: of this N and D under the law, None if the law gives none. wasted_flops and
    wasted_fraction: compute above the least that reaches the same loss. payback_tokens: inference
    tokens after which a model smaller than that optimum has paid for its longer training; infinite
    where it is not smaller. optimum: the best use of the same compute.
    """

    law: str
    verdict: Number
    tokens_per_parameter: Number
    factor: Number
    flops: Number
    loss: Number | None
    wasted_flops: Number | None
    wasted_fraction: Number | None
    payback_tokens: Number | None
    optimum: Optimum
    warnings: tuple[str, ...]


class Opinion(NamedTuple):
    """One law's verdict, and by what factor."""

    law: str
    verdict: Number
    factor: Number
    comparable: bool


def verdict(parameters: Number, tokens: Number, law: str | Law = DEFAULT_LAW) -> Sizing:
    """The verdict of one law on a model of `parameters` trained on `tokens`."""
    law = find_law(law)
    flops = training_flops(parameters, tokens)
    best = optimum(flops, law)
    ratio = tokens / parameters
    loss, wasted, payback = None, None, None
    if isinstance(law.form, Additive):
        loss = law.form.loss(parameters, tokens)
        wasted, payback = _waste(law.form, parameters, tokens, loss)
    return Sizing(
        law=law.name,
        verdict=_judge(ratio, best),
        tokens_per_parameter=ratio,
        factor=ratio / best.tokens_per_parameter,
        flops=flops,
        loss=loss,
        wasted_flops=wasted,
        wasted_fraction=None if wasted is None else wasted / flops,
        payback_tokens=payback,
        optimum=best,
        warnings=range_warnings(law, flops, parameters, tokens),
    )


def opinions(parameters: Number, tokens: Number, comparable: bool = False) -> tuple[Opinion, ...]:
    """Every listed law's verdict, so that disagreement shows; or only the comparable ones'."""
    flops = training_flops(parameters, tokens)
    ratio = tokens / parameters
    asked = _COMPARABLE if comparable else _LISTED
    return tuple(_opinion(law, flops, ratio) for law in asked)


def _opinion(law: Law, flops: Number, ratio: Number) -> Opinion:
    counted, tokens = law.form.optimum(flops)
    factor = ratio / (tokens / as_total(law, counted))
    return Opinion(law.name, _name(factor, 1.0 / TOLERANCE, TOLERANCE), factor, law.comparable)


def _judge(ratio: Number, best: Optimum) -> Number:
    centre = best.tokens_per_parameter
    low = minimum(centre / TOLERANCE, best.tokens.low / best.parameters.high)
    high = maximum(centre * TOLERANCE, best.tokens.high / best.parameters.low)
    return _name(ratio, low, high)


def _name(ratio: Number, low: Number, high: Number) -> Number:
    return where(ratio < low, "undertrained", where(ratio > high, "overtrained", "compute_optimal"))


def _waste(
    form: Additive, parameters: Number, tokens: Number, loss: Number
) -> tuple[Number, Number]:
    """FLOPs above the cheapest way to the same loss, and the inference tokens that repay them."""
    size, data = form.optimum_for_loss(loss)
    extra = maximum(training_flops(parameters, tokens) - training_flops(size, data), 0.0)
    saved = FORWARD_FLOPS * (size - parameters)
    smaller = saved > 0.0
    return extra, where(smaller, extra / where(smaller, saved, 1.0), INFINITE)
