"""The compute-optimal size of a budget under one law, and under all of them side by side."""

from __future__ import annotations

from typing import Literal, NamedTuple

from service.core.numeric import Number, exp, log, maximum, minimum
from service.core.scaling_laws.bootstrap import bounds_of
from service.core.scaling_laws.embeddings import total_parameters
from service.core.scaling_laws.forms import FLOPS_PER_PARAMETER_TOKEN
from service.core.scaling_laws.law import Law, decades_outside, range_warnings
from service.core.scaling_laws.laws import DEFAULT_LAW, LAWS, find_law
from service.core.uncertainty import Interval

Basis = Literal["bootstrap", "published_exponents", "between_laws"]

_LOG10 = 2.302585092994046
_LEVEL_RATIO = 1.6448536269514722 / 1.2815515655446004
"""Normal quantiles: half-width of a 90 % interval over that of an 80 % one."""


class Optimum(NamedTuple):
    """The best use of a training budget under one law; floats, or arrays of one shape.

    parameters are totals, loss in nats a token (None: the law gives none), flops the budget as the
    law counts it (6 N D), tokens_per_parameter of the central values. basis says where the
    intervals of N and D come from: the law's bootstrap refits, its published exponents, or the
    spread between comparable laws. decades_outside: how far the budget lies outside the fit.
    """

    parameters: Interval
    tokens: Interval
    loss: Interval | None
    flops: Number
    tokens_per_parameter: Number
    law: str
    basis: Basis
    decades_outside: Number
    warnings: tuple[str, ...]


class LawAnswer(NamedTuple):
    """One law's central answer: total parameters, tokens, its budget in FLOPs and its loss."""

    law: str
    parameters: Number
    tokens: Number
    flops: Number
    loss: Number | None
    tokens_per_parameter: Number
    comparable: bool
    decades_outside: Number
    warnings: tuple[str, ...]


def optimum(flops: Number, law: str | Law = DEFAULT_LAW) -> Optimum:
    """The optimal N, D and loss of a budget in FLOPs, each with its 90 % interval."""
    law = find_law(law)
    counted, tokens = law.form.optimum(flops)
    parameters = as_total(law, counted)
    size, basis = _parameter_bounds(law, flops, parameters)
    return Optimum(
        parameters=size,
        tokens=Interval(
            tokens,
            tokens * (parameters / size.high),
            tokens * (parameters / size.low),
        ),
        loss=_loss_interval(law, flops),
        flops=flops,
        tokens_per_parameter=tokens / parameters,
        law=law.name,
        basis=basis,
        decades_outside=decades_outside(law, flops),
        warnings=range_warnings(law, flops, counted, tokens),
    )


def as_total(law: Law, counted: Number) -> Number:
    """Total parameters from what the law counts."""
    return total_parameters(counted) if law.parameters_kind == "non_embedding" else counted


def law_answer(flops: Number, law: str | Law) -> LawAnswer:
    """One law's central answer for a budget in FLOPs."""
    law = find_law(law)
    counted, tokens = law.form.optimum(flops)
    parameters = as_total(law, counted)
    return LawAnswer(
        law=law.name,
        parameters=parameters,
        tokens=tokens,
        flops=flops,
        loss=law.form.frontier_loss(flops),
        tokens_per_parameter=tokens / parameters,
        comparable=law.comparable,
        decades_outside=decades_outside(law, flops),
        warnings=range_warnings(law, flops, counted, tokens),
    )


def spread(flops: Number) -> Interval:
    """The least and greatest optimal N between the comparable laws; the value is the default's."""
    sizes = [law.form.optimum(flops)[0] for law in LAWS.values() if law.comparable]
    low = high = value = LAWS[DEFAULT_LAW].form.optimum(flops)[0]
    for size in sizes:
        low, high = minimum(low, size), maximum(high, size)
    return Interval(value, low, high)


def _parameter_bounds(law: Law, flops: Number, parameters: Number) -> tuple[Interval, Basis]:
    if law.samples is not None:
        low, high = bounds_of(law).parameters(_log10(flops))
        return _around(parameters, low, high), "bootstrap"
    if law.growth is not None and law.fitted.flops is not None:
        return _from_exponents(law, flops, parameters), "published_exponents"
    between = spread(flops)
    return _around(parameters, between.low, between.high), "between_laws"


def _from_exponents(law: Law, flops: Number, parameters: Number) -> Interval:
    """Turn the line about the middle of its fitted budgets by the exponent's interval.

    The published intervals are 10 to 90 %; half-widths grow to 5 to 95 % as a normal's would.
    """
    assert law.growth is not None
    assert law.fitted.flops is not None
    low_power, high_power, _ = law.growth
    power = (low_power + high_power) / 2.0
    lever = abs(log(flops / (law.fitted.flops[0] * law.fitted.flops[1]) ** 0.5)) * _LEVEL_RATIO
    return Interval(
        parameters,
        parameters * exp((low_power - power) * lever),
        parameters * exp((high_power - power) * lever),
    )


def _loss_interval(law: Law, flops: Number) -> Interval | None:
    """The loss's interval; a law without refits borrows the default's, relative to the loss."""
    loss = law.form.frontier_loss(flops)
    if loss is None:
        return None
    if law.samples is not None:
        return _around(loss, *bounds_of(law).loss(_log10(flops)))
    default = LAWS[DEFAULT_LAW]
    low, high = bounds_of(default).loss(_log10(flops))
    known = default.form.frontier_loss(flops)
    return _around(loss, loss * (low / known), loss * (high / known))


def _around(value: Number, low: Number, high: Number) -> Interval:
    return Interval(value, minimum(value, low), maximum(value, high))


def _log10(flops: Number) -> Number:
    return log(flops) / _LOG10


def training_flops(parameters: Number, tokens: Number) -> Number:
    """C = 6 N D, the compute that the laws are stated in."""
    return FLOPS_PER_PARAMETER_TOKEN * parameters * tokens
