"""Which options another one rules out, and by what.

An option is ruled out by one that is no dearer, no dirtier, no slower and takes no more devices, is
better in one of these, and of whose quality no less is known. That order is never a guess. The same
model in at least as many bits is known to be no worse; and what was measured on this task, for a
model of this size, is better known than what was not.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.core.candidates import Option


def ruled_out_by(option: Option, options: Sequence[Option]) -> tuple[str, ...]:
    """Names of the options that dominate this one."""
    return tuple(
        other.candidate.name
        for other in options
        if other is not option and _dominates(other, option, options[0])
    )


def _dominates(better: Option, worse: Option, in_use: Option) -> bool:
    if better.fit == "does_not_fit" or worse.fit == "does_not_fit":
        return False
    if better.fit == "at_risk" and worse.fit == "fits":
        return False
    ours, theirs = criteria(better), criteria(worse)
    gains = all(a <= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs
    return gains and (_no_worse(better, worse) or _better_known(better, worse, in_use))


def criteria(option: Option) -> tuple[float, float, float, float]:
    """USD and kgCO2e a month, making included, pace in seconds, and devices: what memory costs."""
    assert option.usd_with_making is not None
    assert option.kgco2e_with_making is not None
    assert option.pace is not None
    return (
        option.usd_with_making,
        option.kgco2e_with_making,
        option.pace.value,
        float(option.devices),
    )


def _no_worse(better: Option, worse: Option) -> bool:
    """The same model, made alike, in no fewer bits a weight; no other order is known.

    What was measured on this task is not ruled out by bits alone of what was not.
    """
    a, b = better.candidate, worse.candidate
    if a.escalates_to or b.escalates_to or a.network != b.network or a.techniques != b.techniques:
        return False
    known = better.quality.measured_on_task or not worse.quality.measured_on_task
    return known and better.stored_bytes >= worse.stored_bytes


def _better_known(better: Option, worse: Option, in_use: Option) -> bool:
    """Measured on this task, against one that was not and may be worse than the model in use."""
    known = better is in_use or better.quality.measured_on_task
    return known and not (_no_worse(worse, in_use) or worse.quality.measured_on_task)
