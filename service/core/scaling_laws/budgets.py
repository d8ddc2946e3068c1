"""From any one budget to the optimum under a law, and back.

FLOPs, a size, a token count and a target loss have closed forms. Device-hours, money, carbon and a
deadline go through a `Spend`, built from the caller's model of how fast devices really are at the
size that comes out, and are solved to consistency: the answer is the largest budget in FLOPs whose
optimum, trained, spends no more than was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.core.numeric import Number, exp, floor, log, maximum, minimum, where
from service.core.scaling_laws.embeddings import non_embedding_parameters
from service.core.scaling_laws.forms import INFINITE, Additive
from service.core.scaling_laws.law import Law, LawError
from service.core.scaling_laws.laws import DEFAULT_LAW, LAWS, find_law
from service.core.scaling_laws.optimum import (
    LawAnswer,
    Optimum,
    as_total,
    law_answer,
    optimum,
    training_flops,
)
from service.core.scaling_laws.returns import Spend
from service.core.scaling_laws.roots import last_below

SpentKind = Literal["device_hours", "usd", "kgco2e", "deadline_hours"]
Kind = Literal["flops", "loss", "parameters", "tokens"] | SpentKind

Rate = Callable[[Number, Number], Number]
"""(parameters, tokens) -> achieved FLOP/s of one device: 6 N times the tokens that a device gets
through in a second. Zero where the model does not fit."""

_SECONDS = 3600.0
_SMALLEST, _LARGEST = 1e6, 1e36
"""FLOPs between which budgets are sought."""

_GRID = 2.302585092994046 / 32.0
"""Step in ln C of the search for a cheaper larger model."""
_FINE = 2e-9
"""Step in ln C of the answers: above the width to which they are solved."""


class BudgetError(ValueError):
    """A budget that buys no training run, or one that no finite run spends."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget: a positive value of a kind (deadline_hours is wall-clock time).

    spend is needed by the kinds that are not closed forms; see device_hours and its neighbours.
    """

    kind: Kind
    value: Number
    spend: Spend | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """The optimum of a budget, what it really spends, and what stops a larger one.

    limited_by: "budget", or "capacity" where the next larger model no longer fits the devices and
    budget is left over (arrays: one entry each).
    """

    optimum: Optimum
    spent: Number
    limited_by: Number


def device_hours(rate: Rate) -> Spend:
    """Device-hours of a run: 6 N D over the achieved FLOP/s of a device."""

    def spend(parameters: Number, tokens: Number) -> Number:
        achieved = rate(parameters, tokens)
        runs = achieved > 0.0
        seconds = training_flops(parameters, tokens) / where(runs, achieved, 1.0)
        return where(runs, seconds / _SECONDS, INFINITE)

    return spend


def per_device_hour(rate: Rate, amount: float | Callable[[Number, Number], Number]) -> Spend:
    """Money or carbon of a run, from that of a device-hour: a number, or a function of (N, D)."""
    hours = device_hours(rate)

    def spend(parameters: Number, tokens: Number) -> Number:
        each = amount(parameters, tokens) if callable(amount) else amount
        spent = hours(parameters, tokens)
        runs = spent < INFINITE
        return where(runs, where(runs, spent, 0.0) * each, INFINITE)

    return spend


def wall_clock_hours(rate: Rate, devices: Number) -> Spend:
    """Hours of a run on a number of devices, for a deadline."""
    hours = device_hours(rate)
    return lambda parameters, tokens: hours(parameters, tokens) / devices


def solve(budget: Budget, law: str | Law = DEFAULT_LAW) -> Solution:
    """The optimum that a budget buys under a law.

    Raises BudgetError where the budget buys no run or is not positive, and LawError where a loss
    is asked of a law that gives none.
    """
    law = find_law(law)
    flops = flops_of(budget, law)
    best = optimum(flops, law)
    if budget.spend is None:
        return Solution(best, budget.value, "budget")
    spent = budget.spend(best.parameters.value, best.tokens.value)
    beyond = _along(law, budget.spend)(flops * (1.0 + 1e-6))
    limit = where(beyond < INFINITE, "budget", "capacity")
    return Solution(best, spent, limit)


def solve_all(budget: Budget) -> tuple[LawAnswer, ...]:
    """What the budget buys under every listed law that can answer for its kind."""
    answers = []
    for law in LAWS.values():
        if not law.listed:
            continue
        try:
            flops = flops_of(budget, law)
        except LawError:
            continue
        answers.append(law_answer(flops, law))
    return tuple(answers)


def flops_of(budget: Budget, law: str | Law = DEFAULT_LAW) -> Number:
    """The budget in training FLOPs under a law."""
    law = find_law(law)
    value = budget.value
    if not np.all(np.asarray(value) > 0.0) or not np.all(np.isfinite(value)):
        raise BudgetError("a budget must be positive and finite")
    if budget.kind == "flops":
        return value
    if budget.kind == "parameters":
        counted = non_embedding_parameters(value) if _bare(law) else value
        return law.form.flops_for_parameters(counted)
    if budget.kind == "tokens":
        return law.form.flops_for_tokens(value)
    if budget.kind == "loss":
        return _finite(law.flops_for_loss(value), law)
    if budget.spend is None:
        raise BudgetError(f"a budget in {budget.kind} needs to know how fast the devices are")
    return flops_for_spend(value, budget.spend, law)


def flops_for_spend(value: Number, spend: Spend, law: str | Law = DEFAULT_LAW) -> Number:
    """The largest budget in FLOPs whose optimum, trained, spends at most `value`."""
    return _largest(_along(find_law(law), spend), value, start=1e18, smallest=_SMALLEST)


def largest_parameters(
    value: Number,
    spend: Spend,
    tokens: Number | None = None,
    tokens_per_parameter: Number | None = None,
) -> Number:
    """The largest model that a budget trains on so many tokens, or so many a parameter.

    Give exactly one of the two. Raises BudgetError where not even a tiny model can be trained.
    """
    if (tokens is None) == (tokens_per_parameter is None):
        raise ValueError("give either the tokens or the tokens a parameter")

    def along(parameters: Number) -> Number:
        data = tokens if tokens_per_parameter is None else parameters * tokens_per_parameter
        return spend(parameters, data)

    return _largest(along, value, start=1e6, smallest=1.0)


def _bare(law: Law) -> bool:
    return law.parameters_kind == "non_embedding"


def _finite(flops: Number, law: Law) -> Number:
    if not np.all(np.isfinite(flops)):
        least = f", {law.form.irreducible:.6g}" if isinstance(law.form, Additive) else ""
        detail = f"no budget reaches this loss under {law.name}: it is at or below E{least}"
        raise BudgetError(detail)
    return flops


def _along(law: Law, spend: Spend) -> Callable[[Number], Number]:
    """The spend of the optimum of a budget in FLOPs."""

    def along(flops: Number) -> Number:
        counted, tokens = law.form.optimum(flops)
        return spend(as_total(law, counted), tokens)

    return along


def _largest(
    along: Callable[[Number], Number], value: Number, start: float, smallest: float
) -> Number:
    """The largest x with along(x) <= value, where `along` rises but for dips."""

    def excess(log_x: Number) -> Number:
        return log(maximum(along(exp(log_x)), 1e-300) / value)

    low, high = _bracket(along, value, start, smallest)
    root = _past_dips(excess, last_below(excess, log(low), log(high)))
    return exp(_snapped(excess, root))


def _bracket(
    along: Callable[[Number], Number], value: Number, start: float, smallest: float
) -> tuple[Number, Number]:
    """Two points between which `along` passes `value`, from a guess that it is a straight line."""
    low = start * (value / value)
    while np.any((spent := along(low)) == INFINITE):
        low = where(spent == INFINITE, low / 16.0, low)
        _check_reach(low, smallest)
    low = minimum(low * value / maximum(spent, 1e-300), _LARGEST)
    while np.any(over := along(low) > value):
        low = where(over, low / 4.0, low)
        _check_reach(low, smallest)
    high = low * 2.0
    while np.any(under := along(high) <= value):
        low, high = where(under, high, low), where(under, high * 4.0, high)
        if np.max(high) > _LARGEST:
            raise BudgetError("no finite training run spends this budget")
    return low, high


def _check_reach(low: Number, smallest: float) -> None:
    if np.min(low) < smallest:
        raise BudgetError("the budget is too small for any training run")


def _snapped(excess: Callable[[Number], Number], root: Number) -> Number:
    """The last point of a fine fixed grid within the budget, so that no larger budget gets less.

    Where the spend jumps, many budgets have one answer, and solving alone would give each of them
    another last digit.
    """
    below = floor(root / _FINE) * _FINE
    above = (floor(root / _FINE) + 1.0) * _FINE
    snapped = where(excess(above) <= 0.0, above, below)
    return where(excess(snapped) <= 0.0, snapped, root)


def _past_dips(excess: Callable[[Number], Number], root: Number) -> Number:
    """The last crossing, where a change of layout makes a larger model cheaper again.

    Looks at the next points of a fixed grid (so that a larger budget looks at the same ones) until
    none of ten in a row is within the budget.
    """
    place, last, misses = floor(root / _GRID), root, 0
    offset = 0
    while misses < 10:
        offset += 1
        x = (place + offset) * _GRID
        under = excess(x) <= 0.0
        last = where(under, x, last)
        misses = 0 if np.any(under) else misses + 1
    if not np.any(last > root):
        return root
    return last_below(excess, last, last + _GRID)
