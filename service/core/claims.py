"""Published claims against our own estimates: consistent, off by what factor, or not checkable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.core.uncertainty import Interval, product

Verdict = Literal["consistent", "inconsistent", "unverifiable"]

ROUNDING = 0.05
"""Claims are rounded: within 5 % of the interval counts as the same number."""
BOUND_SLACK = 3.0
"""A bound ("more than 10,000 hours") that the truth passes by more than this misleads."""

NOT_DERIVABLE: Mapping[str, str] = {
    "perplexity": "perplexity depends on test set and tokeniser, and neither is stated",
    "top1_small": "accuracy depends on the data set, and none is named",
    "top1_large": "accuracy is measured, not derived from a description",
    "quality": "quality is measured, not derived from a description",
    "task": "what a task needs is not derived from a size: neither task nor measure is stated",
}
"""Quantities that no estimate from a description can settle, each with the reason."""


@dataclass(frozen=True)
class Check:
    """One claimed quantity beside ours."""

    quantity: str
    verdict: Verdict
    claimed: float | None
    estimate: Interval | None
    factor: float | None
    """Larger over smaller of claim and estimate, 1 or more; None where unverifiable."""
    reason: str


def check_quantity(
    quantity: str,
    claimed: float,
    estimate: Interval | None,
    *,
    at_least: bool = False,
    missing: str = "",
) -> Check:
    """Compare one number with an interval; an exact estimate has equal bounds.

    `at_least` reads the claim as a lower bound. `missing` says why there is no estimate.
    """
    if estimate is None:
        reason = missing or NOT_DERIVABLE.get(quantity, f"no estimate of {quantity} is possible")
        return Check(quantity, "unverifiable", claimed, None, None, reason)
    factor = factor_between(claimed, float(estimate.value))
    low, high = float(estimate.low) * (1 - ROUNDING), float(estimate.high) * (1 + ROUNDING)
    floor = low / BOUND_SLACK if at_least else low
    if floor <= claimed <= high:
        return Check(quantity, "consistent", claimed, estimate, factor, "within our interval")
    direction = "less" if claimed < float(estimate.value) else "more"
    reason = f"{quantity} is claimed {factor:.3g} times {direction} than our estimate"
    if at_least and direction == "less":
        reason += "; as a lower bound it holds, and misleads"
    return Check(quantity, "inconsistent", claimed, estimate, factor, reason)


def factor_between(claimed: float, ours: float) -> float:
    """The larger of two positive numbers over the smaller; infinity where one is 0."""
    small, large = sorted((abs(claimed), abs(ours)))
    if large == 0:
        return 1.0
    return large / small if small > 0 else math.inf


def device_hours_from_size(
    parameters: float, tokens: Interval, peak_flops: float, utilization: Interval
) -> Interval:
    """Training time from a size alone: `6 N D / (peak x utilisation)`; device-hours.

    Source: Kaplan et al. 2020 (arXiv 2001.08361) section 2.1, forward and backward pass,
    attention not counted.
    """
    work = tokens.times(6.0 * parameters / (peak_flops * 3600.0))
    return product(work, utilization.inverse())


def implied_devices(device_hours: float, days: float) -> float:
    """How many devices a claim of hours and days speaks of, without saying so."""
    return device_hours / (24.0 * days)


def check_wall_clock(
    claimed_days: float, device_hours: Interval | None, devices: float | None
) -> Check:
    """Days of training. Without a number of devices any duration can be true."""
    if device_hours is None or devices is None:
        reason = "the number of devices is not stated"
        if device_hours is not None:
            needed = implied_devices(float(device_hours.value), claimed_days)
            reason += f"; it would take about {needed:,.0f}"
        return Check("wall_clock_days", "unverifiable", claimed_days, None, None, reason)
    return check_quantity("wall_clock_days", claimed_days, device_hours.times(1 / (24 * devices)))


def relative_reduction(ours: Interval, reference: Interval) -> Interval:
    """By what share one quantity is below another, `1 - a/b`: "40 % smaller"."""
    ratio = product(ours, reference.inverse())
    return Interval(1.0 - ratio.value, 1.0 - ratio.high, 1.0 - ratio.low)


def relative_speedup(ours_seconds: Interval, reference_seconds: Interval) -> Interval:
    """By what share more is done in a time, `b/a - 1`: "60 % faster"."""
    return product(reference_seconds, ours_seconds.inverse()).plus(-1.0)


def check_closed_model(claimed_parameters: float) -> Check:
    """The size of a model whose maker publishes neither weights nor description."""
    reason = "the model is closed: its maker publishes neither its size nor a description"
    return Check("parameters", "unverifiable", claimed_parameters, None, None, reason)


def check_claim(
    quantities: Mapping[str, Any],
    estimates: Mapping[str, Interval],
    missing: Mapping[str, str] | None = None,
) -> tuple[Check, ...]:
    """Every checkable quantity of a claim, as a row of the claims' table has them.

    `estimates` are ours by the same names; `missing` says why one is not there. A claim that is
    a model's description (`parameters` beside `device_hours`) takes its size as given.
    """
    if quantities.get("closed"):
        return (check_closed_model(float(quantities["parameters"])),)
    reasons = missing or {}
    bound = bool(quantities.get("at_least"))
    checks = []
    for name in (n for n in QUANTITIES if n in quantities):
        if name == "parameters" and name not in estimates and len(_claimed(quantities)) > 1:
            continue
        claimed = float(quantities[name])
        checks.append(
            check_wall_clock(claimed, estimates.get("device_hours"), quantities.get("devices"))
            if name == "wall_clock_days" and name not in estimates
            else check_quantity(
                name,
                claimed,
                estimates.get(name),
                at_least=bound,
                missing=reasons.get(name, ""),
            )
        )
    return tuple(checks) or (_nothing_to_check(quantities, reasons),)


def overall(checks: tuple[Check, ...]) -> Verdict:
    """One word for a claim: its worst part, where anything of it could be checked."""
    verdicts = {check.verdict for check in checks}
    if "inconsistent" in verdicts:
        return "inconsistent"
    return "consistent" if "consistent" in verdicts else "unverifiable"


QUANTITIES = (
    "parameters",
    "memory_bytes",
    "device_hours",
    "wall_clock_days",
    "energy_kwh",
    "kgco2e",
    "usd",
    "size_reduction",
    "speedup",
    "perplexity",
    "top1_small",
    "top1_large",
    "quality",
)
"""The names under which a claim states numbers, and estimates answer them."""


def _claimed(quantities: Mapping[str, Any]) -> list[str]:
    return [name for name in QUANTITIES if name in quantities]


def _nothing_to_check(quantities: Mapping[str, Any], reasons: Mapping[str, str]) -> Check:
    known = next((name for name in quantities if name in reasons), None)
    reason = reasons[known] if known else ""
    if not reason:
        reason = next(
            (NOT_DERIVABLE[name] for name in quantities if name in NOT_DERIVABLE),
            "the statement holds no quantity that an estimate could be set against",
        )
    return Check(known or "statement", "unverifiable", None, None, None, reason)
