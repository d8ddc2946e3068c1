"""The one experiment that is recommended: what to try next, why, and what it costs.

Both models answer the same requests of the caller's own traffic. What is tried is the option that
gains most: money first, and where none is saved at this load, carbon, then speed, then memory; and
where nothing is gained at all, one whose quality nobody has measured on this task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from service.core.alternatives_pareto import criteria
from service.core.candidates import Need, Option
from service.core.serving.economics import usd_per_million_output_tokens
from service.core.serving.encoding import estimate

Gains = Literal["service", "money", "carbon", "speed", "memory", "knowledge"]
TRIAL_REQUESTS = 2_000
"""A paired comparison that resolves two points (80 % power at 5 %) where two models disagree on
one answer in ten: `(1.96 + 0.84)^2 * 0.1 / 0.02^2`."""
TRIAL_CONCURRENCY = 16.0
WORTH = 0.02
"""Gains below this share are no reason for an experiment, nor for one option over another."""


@dataclass(frozen=True)
class Experiment:
    """What to try next, and what it costs."""

    candidate: str
    requests: int
    usd: float
    gains: Gains
    """`service` (the model in use does not fit), `money`, `carbon`, `speed`, `memory`, or
    `knowledge`, where only the quality is in question."""
    why: str


_GAINS: tuple[tuple[Gains, str], ...] = (
    ("money", "USD a month, making included"),
    ("carbon", "kgCO2e a month, making included"),
    ("speed", "seconds"),
    ("memory", "bytes of weights"),
)


def _figure(option: Option, gains: str) -> float:
    usd, kilograms, seconds, _ = criteria(option)
    figures = {"money": usd, "carbon": kilograms, "speed": seconds, "memory": option.stored_bytes}
    return figures[gains]


def experiment(options: Sequence[Option], need: Need) -> Experiment | None:
    """What to try next; None where no other option carries the load."""
    in_use, *others = options
    able = [option for option in others if option.fit != "does_not_fit"]
    if not able:
        return None
    if in_use.fit == "does_not_fit":
        best = _least(able, "money")
        why = f"the model in use does not fit ({in_use.reason}); this one is the cheapest that does"
        return _priced((best,), need, "service", why)
    for gains, unit in _GAINS:
        best = _least(able, gains)
        now, then = _figure(in_use, gains), _figure(best, gains)
        if then < now * (1.0 - WORTH):
            why = f"{_no_money(gains)}{gains} falls most: {now:.4g} to {then:.4g} {unit}"
            return _priced((in_use, best), need, gains, why)
    unknown = [option for option in able if not option.quality.measured_on_task]
    best = _least(unknown or able, "memory")
    why = "no option gains money, carbon, speed or memory at this load"
    return _priced((in_use, best), need, "knowledge", why)


def _least(able: Sequence[Option], gains: str) -> Option:
    """Of those that come close to the least figure, one whose quality is known, else the first."""
    least = min(_figure(option, gains) for option in able)
    close = [option for option in able if _figure(option, gains) <= least * (1.0 + WORTH)]
    return min(close, key=lambda option: not option.quality.measured_on_task)


def _no_money(gains: str) -> str:
    return "" if gains == "money" else "no option saves money at this load; "


def _priced(tried: Sequence[Option], need: Need, gains: Gains, why: str) -> Experiment:
    best = tried[-1]
    usd = sum(_trial_usd(option, need) for option in tried)
    reasons = f"{why}; {best.quality.advice}"
    return Experiment(best.candidate.name, TRIAL_REQUESTS, usd, gains, reasons)


def _trial_usd(option: Option, need: Need) -> float:
    """What the trial's requests cost on one replica of the option, and in a cascade of each."""
    usd = 0.0
    for (stage, share), fleet in zip(option.candidate.stages, option.fleets, strict=True):
        single = replace(
            need.job(stage),
            tensor=float(fleet.tensor),
            pipeline=float(fleet.pipeline),
            concurrency=TRIAL_CONCURRENCY,
        )
        found = estimate(stage.network, stage.accelerator, single)
        per_million = usd_per_million_output_tokens(found, need.usd_per_device_hour)
        usd += float(per_million.value) * share * TRIAL_REQUESTS * need.output_tokens / 1e6
    return usd
