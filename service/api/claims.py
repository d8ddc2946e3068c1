"""Published claims against our own estimates: the quantities resolved, the core's check asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from service.api.catalog_documents import ClaimCheck
from service.api.claims_spending import spent
from service.api.mapping import finite, maybe
from service.api.precedents import precedents
from service.api.resolve import models, places
from service.api.resolve.ledger import Ledger
from service.catalog.errors import UnknownName
from service.catalog.snapshot import Snapshot
from service.core import claims as core
from service.core import compute, energy, parameters
from service.core.architecture.families.config import ConfigError
from service.core.carbon import EQUIVALENTS
from service.core.hardware import Accelerator
from service.core.uncertainty import Interval

FULL_WEIGHT, HALF_WEIGHT = 4.0, 2.0
"""Bytes a parameter that a claim about memory may mean: fp32 and 16-bit weights."""
TOKENS_PER_PARAMETER = Interval(20.0, 1.7, 200.0)
"""Of models that were trained and published: GPT-3 had 1.7, Llama 3's smaller ones above 200."""
YARDSTICK = "a100-sxm4-80gb"
"""The accelerator that "GPU-hours" are counted on where a claim names none."""
_UNSTATED = "it takes the accelerator, and its hours or a model, to estimate it from"
_CAR = next(entry for entry in EQUIVALENTS if "cars" in entry.name)
_CARS = re.compile(r"(\d+(?:\.\d+)?) car lifetimes")


def check(
    quantities: Mapping[str, Any], snapshot: Snapshot
) -> tuple[core.Verdict, list[ClaimCheck]]:
    """The verdict on a claim, and each of its quantities beside ours."""
    usable = _usable(quantities)
    estimates, missing = _estimates(usable, snapshot)
    checks = core.check_claim(usable, estimates, missing)
    return core.overall(checks), [_shown(entry, usable, snapshot) for entry in checks]


def _usable(quantities: Mapping[str, Any]) -> Mapping[str, Any]:
    """The quantities without numbers that are none: rows of the catalog may hold anything."""
    numbers = {*core.QUANTITIES, "tokens", "devices"}
    return {name: value for name, value in quantities.items() if name not in numbers or _is(value)}


def _is(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0.0 < value < 1e30


def _shown(entry: core.Check, quantities: Mapping[str, Any], snapshot: Snapshot) -> ClaimCheck:
    size = quantities.get("parameters")
    hours = entry.claimed if entry.quantity == "device_hours" else None
    return ClaimCheck(
        quantity=entry.quantity,
        verdict=entry.verdict,
        claimed=entry.claimed,
        estimate=maybe(entry.estimate),
        factor=finite(entry.factor),
        reason=entry.reason,
        precedents=[] if size is None or hours is None else precedents(size, hours, snapshot),
    )


Figures = dict[str, Interval]


def _estimates(quantities: Mapping[str, Any], snapshot: Snapshot) -> tuple[Figures, dict[str, str]]:
    found: Figures = {}
    missing = {
        "speedup": "how much faster depends on device, batch and length, and none is stated",
        **dict.fromkeys(("energy_kwh", "kgco2e", "usd"), _UNSTATED),
    }
    cars = _CARS.search(str(quantities.get("equivalent", "")))
    if cars:
        found["kgco2e"] = _exact(float(cars[1]) * _CAR.kgco2e_each)
    named = snapshot.find("accelerators", str(quantities.get("accelerator") or ""))
    device = places.accelerator(snapshot, named.name if named else YARDSTICK, Ledger())
    subject = _subject(quantities, snapshot, missing)
    if subject is not None:
        found |= _of_subject(subject, device, quantities, snapshot)
    hours = _hours(quantities, found)
    if named is not None and hours is not None:
        found = spent(hours, device, quantities, snapshot) | found
    return found, missing


class Subject(NamedTuple):
    """What a claim is about."""

    parameters: float
    active: float
    """Used by one token: what training time follows from."""
    counted: bool
    """Whether we counted them ourselves."""
    tokens: float | None = None
    """That a reference model was trained on, where it is published."""


def _subject(
    quantities: Mapping[str, Any], snapshot: Snapshot, missing: dict[str, str]
) -> Subject | None:
    name = quantities.get("model")
    if isinstance(name, str):
        try:
            fact, network = models.catalogued(snapshot, name)
        except (UnknownName, ConfigError):
            reason = f"{name[:60]} is not in the catalog and no description is given"
            missing |= dict.fromkeys(core.QUANTITIES, reason)
            return None
        counts = parameters.count(network)
        tokens = getattr(fact.payload, "training_tokens", None)
        return Subject(float(counts.total), float(counts.active), True, tokens)
    layers = quantities.get("layers")
    if isinstance(layers, list) and all(_is_matrix(layer) for layer in layers):
        count = float(sum(rows * columns for rows, columns in layers))
        return Subject(count, count, True)
    given = quantities.get("parameters")
    return None if given is None else Subject(float(given), float(given), False)


def _is_matrix(layer: Any) -> bool:
    return isinstance(layer, list) and len(layer) == 2 and all(_is(size) for size in layer)


def _of_subject(
    subject: Subject,
    accelerator: Accelerator,
    quantities: Mapping[str, Any],
    snapshot: Snapshot,
) -> Figures:
    count = subject.parameters
    found: Figures = {}
    if subject.counted:
        found["parameters"] = _exact(count)
        weights = count * FULL_WEIGHT
        found["memory_bytes"] = Interval(weights, count * HALF_WEIGHT, weights)
    given = quantities.get("tokens", subject.tokens)
    tokens = TOKENS_PER_PARAMETER.times(subject.active) if given is None else _exact(float(given))
    found["device_hours"] = core.device_hours_from_size(
        subject.active, tokens, accelerator.peak_for("bf16"), energy.typical_utilization()
    )
    return found | _reduction(count, quantities, snapshot) | _speedup(quantities, snapshot)


def _hours(quantities: Mapping[str, Any], found: Figures) -> Interval | None:
    """The claim's own device-hours, stated or implied; else ours."""
    stated = quantities.get("device_hours")
    days, devices = quantities.get("wall_clock_days"), quantities.get("devices")
    if stated is None and days is not None and devices is not None:
        stated = 24.0 * days * devices
    return found.get("device_hours") if stated is None else _exact(float(stated))


def _reduction(count: float, quantities: Mapping[str, Any], snapshot: Snapshot) -> Figures:
    other = quantities.get("relative_to")
    if not isinstance(other, str):
        return {}
    try:
        _, network = models.catalogued(snapshot, other)
    except (UnknownName, ConfigError):
        return {}
    reference = _exact(float(parameters.count(network).total))
    return {"size_reduction": core.relative_reduction(_exact(count), reference)}


def _speedup(quantities: Mapping[str, Any], snapshot: Snapshot) -> Figures:
    """How much more is done in a time than with a reference model.

    Where reading the weights takes the time it is the ratio of their bytes, where arithmetic does
    that of the FLOPs; where neither does there is none.
    """
    names = quantities.get("model"), quantities.get("relative_to")
    try:
        ours, other = (models.catalogued(snapshot, str(name))[1] for name in names)
    except (UnknownName, ConfigError):
        return {}
    length = float(min(n.sequence_limit or _COMPARED_AT for n in (ours, other)))
    work = [compute.table(n).forward(min(length, _COMPARED_AT)) for n in (ours, other)]
    weights = [float(parameters.count(n).total) for n in (ours, other)]
    least, most = sorted((work[1] / work[0], weights[1] / weights[0]))
    if least <= 1.0:
        return {}
    return {"speedup": core.relative_speedup(_exact(1.0), Interval(least, 1.0, most))}


_COMPARED_AT = 512.0
"""Tokens at which two models are compared: what BERT and its relatives read at most."""


def _exact(value: float) -> Interval:
    return Interval(value, value, value)
