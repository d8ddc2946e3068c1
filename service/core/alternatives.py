"""Should this be a smaller model? The options side by side, and what would change the answer.

Each candidate is sized for the same traffic and limits, so that what is compared is a fleet and
its month, not a ratio at batch 1. Quality is evidence only (`quality_evidence`); which options
others rule out is said in `alternatives_pareto`, what to try next in `alternatives_trial`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from service.core import parameters
from service.core.alternatives_pareto import ruled_out_by
from service.core.alternatives_trial import Experiment, experiment
from service.core.candidates import Candidate, Need, Option
from service.core.cost import HOURS_PER_MONTH
from service.core.quality_evidence import evidence, technique
from service.core.serving.economics import watts_per_device
from service.core.serving.fleet import Fleet, Target, Unservable, fewest_devices
from service.core.uncertainty import Interval
from service.core.weight_formats import weight_bytes

SAME_BYTES = 0.25
"""Stored sizes within this share of each other count as the same."""
RATE_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
LENGTH_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PRICE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
SHARES = tuple(step / 20.0 for step in range(1, 21))
"""Shares of escalated requests that are tried for a cascade's break-even."""


@dataclass(frozen=True)
class Comparison:
    """The answer."""

    options: tuple[Option, ...]
    """The model in use first."""
    undominated: tuple[str, ...]
    """Those that fit and that no other rules out."""
    dominated: Mapping[str, tuple[str, ...]]
    """The options that rule one out, for each that is."""
    beside: tuple[tuple[str, str], ...]
    """(smaller, larger): a larger model in fewer bits with about the same bytes."""
    cheapest_by_rate: tuple[tuple[float, tuple[str, ...]], ...]
    """(factor on the request rate, the options with the fewest devices that fit then)."""
    cheapest_by_output: tuple[tuple[float, tuple[str, ...]], ...]
    """The same by a factor on the tokens of an output; none for an encoder."""
    experiment: Experiment | None


def compare(current: Candidate, others: Sequence[Candidate], need: Need) -> Comparison:
    """All options for one need. Raises what `serving.estimate` raises."""
    baseline = _option(current, current, need, None)
    options = (baseline, *(_option(other, current, need, baseline) for other in others))
    by_name = {o.candidate.name: ruled_out_by(o, options) for o in options}
    lengths = LENGTH_FACTORS if current.network.causal else ()
    return Comparison(
        options,
        tuple(
            o.candidate.name
            for o in options
            if o.fit != "does_not_fit" and not by_name[o.candidate.name]
        ),
        {name: names for name, names in by_name.items() if names},
        _beside(options),
        tuple((f, _fewest((current, *others), _at_rate(need, f))) for f in RATE_FACTORS),
        tuple((f, _fewest((current, *others), at_length(need, f))) for f in lengths),
        experiment(options, need),
    )


def _option(
    candidate: Candidate, current: Candidate, need: Need, baseline: Option | None
) -> Option:
    short = _short_of_context(candidate, current, need)
    fit, reason, fleets = ("does_not_fit", short, ()) if short else _fit(candidate, need)
    counted = parameters.count(current.network).total
    month = _month(candidate, fleets, need) if fleets else (None, None)
    million = 1e6 / (need.requests_per_month * need.output_tokens)
    return Option(
        candidate,
        fit,
        reason,
        fleets,
        weight_bytes(candidate.network, candidate.weights).total,
        parameters.count(candidate.network).total,
        month[0],
        month[1],
        month[0].times(million) if month[0] else None,
        month[1].times(million) if month[1] else None,
        month[0] and month[0].value + candidate.making_usd / need.horizon_months,
        month[1] and month[1].value + candidate.making_kgco2e / need.horizon_months,
        _payback(candidate, month[0], baseline),
        evidence(
            _techniques(candidate), need.task, current.family, float(counted), candidate.findings
        ),
    )


def _short_of_context(candidate: Candidate, current: Candidate, need: Need) -> str:
    """Why a model that is not in use cannot read the longest request; empty where it can."""
    network = candidate.network
    if network == current.network or network.reads(need.longest):
        return ""
    return f"reads {network.sequence_limit} tokens; the longest request has {need.longest:g}"


def _fit(candidate: Candidate, need: Need) -> tuple[str, str, tuple[Fleet, ...]]:
    """One of three states, why, and the fleets that were sized."""
    cautious = _sized(candidate, need, replace(need.target, cautious=True))
    fit, reason, found = "fits", "", cautious
    if isinstance(cautious, Unservable):
        reason, found = (
            cautious.reason,
            _sized(candidate, need, replace(need.target, cautious=False)),
        )
        fit = "at_risk"
    if isinstance(found, Unservable):
        return "does_not_fit", found.reason, ()
    devices = sum(fleet.devices for fleet in found)
    if need.devices_at_hand is not None and devices > need.devices_at_hand:
        return "does_not_fit", f"needs {devices} devices", found
    return fit, reason, found


def _techniques(candidate: Candidate) -> tuple[str, ...]:
    own = technique(candidate.weights)
    passed = ("cascade",) if candidate.escalates_to else ()
    return (*candidate.techniques, *((own,) if own else ()), *passed)


def _sized(candidate: Candidate, need: Need, target: Target) -> tuple[Fleet, ...] | Unservable:
    fleets: list[Fleet] = []
    for stage, share in candidate.stages:
        traffic = replace(
            need.traffic, requests_per_second=need.traffic.requests_per_second * share
        )
        found = fewest_devices(stage.network, stage.accelerator, need.job(stage), traffic, target)
        if isinstance(found, Unservable):
            return found
        fleets.append(found)
    return tuple(fleets)


def _month(candidate: Candidate, fleets: Sequence[Fleet], need: Need) -> tuple[Interval, Interval]:
    """USD and kgCO2e of a month: whole devices are paid, and drawn from, used or not.

    The number of devices follows from central values, so its money is exact; a fleet that the
    measured speed proves too small or too large has another.
    """
    devices = sum(fleet.devices for fleet in fleets)
    usd = devices * need.usd_per_device_hour * HOURS_PER_MONTH
    value = low = high = 0.0
    for (stage, _), fleet in zip(candidate.stages, fleets, strict=True):
        watts = watts_per_device(
            fleet.at_mean, stage.accelerator, stage.weights, min(fleet.utilization, 1.0)
        )
        factor = fleet.devices * HOURS_PER_MONTH / 1e3 * need.pue * need.grid_gco2e_per_kwh / 1e3
        value, low, high = (
            total + part * factor for total, part in zip((value, low, high), watts, strict=True)
        )
    return Interval(usd, usd, usd), Interval(value, low, high)


def _payback(
    candidate: Candidate, usd_per_month: Interval | None, baseline: Option | None
) -> float | None:
    if baseline is None or usd_per_month is None or baseline.usd_per_month is None:
        return None
    saved = baseline.usd_per_month.value - usd_per_month.value
    if candidate.making_usd == 0.0:
        return 0.0 if saved >= 0 else math.inf
    return candidate.making_usd / saved if saved > 0 else math.inf


def _beside(options: Sequence[Option]) -> tuple[tuple[str, str], ...]:
    """Larger models in fewer bits whose stored bytes are about those of a smaller one."""
    return tuple(
        (small.candidate.name, large.candidate.name)
        for small in options
        for large in options
        if small.candidate.escalates_to is large.candidate.escalates_to is None
        and large.parameters > small.parameters * (1.0 + SAME_BYTES)
        and large.stored_bytes <= small.stored_bytes * (1.0 + SAME_BYTES)
    )


def _at_rate(need: Need, factor: float) -> Need:
    rate = need.traffic.requests_per_second * factor
    return replace(need, traffic=replace(need.traffic, requests_per_second=rate))


def at_length(need: Need, factor: float) -> Need:
    """The need with longer or shorter outputs; the longest request grows or shrinks by as much."""
    changed = max(round(need.output_tokens * factor), 1.0)
    longest = need.longest_tokens and need.longest_tokens + changed - need.output_tokens
    return replace(need, output_tokens=float(changed), longest_tokens=longest)


def _fewest(candidates: Sequence[Candidate], need: Need) -> tuple[str, ...]:
    """Names of the candidates that serve the need with the fewest devices."""
    tried = [(_devices(candidate, need), candidate.name) for candidate in candidates]
    fewest = min(devices for devices, _ in tried)
    return tuple(name for devices, name in tried if devices == fewest < math.inf)


def cheapest_over(options: Sequence[Option], months: float, factor: float) -> tuple[str, ...]:
    """The cheapest over a horizon, their making included, at a factor on the device's price."""
    spent = [
        (o.usd_per_month.value * factor * months + o.candidate.making_usd, o.candidate.name)
        for o in options
        if o.usd_per_month is not None and o.fit != "does_not_fit"
    ]
    least = min((usd for usd, _ in spent), default=math.inf)
    return tuple(name for usd, name in spent if usd == least)


def break_even_share(cascade: Candidate, current: Candidate, need: Need) -> float | None:
    """The largest share of escalated requests, in steps of 5 %, at which fewer devices are needed.

    None where even the smallest one saves nothing.
    """
    alone = _devices(current, need)
    found = [
        share for share in SHARES if _devices(replace(cascade, escalated_share=share), need) < alone
    ]
    return max(found, default=None)


def _devices(candidate: Candidate, need: Need) -> float:
    """Of its fleets, whatever is at hand; infinite where none serves the load."""
    _, _, fleets = _fit(candidate, replace(need, devices_at_hand=None))
    return sum(fleet.devices for fleet in fleets) if fleets else math.inf
