"""Why the layouts one step from the chosen one lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from service.core.estimate import FITS, Estimate
from service.core.hardware import GIB
from service.core.layout_space import RECOMPUTATIONS, Question, fault
from service.core.parallelism import Layout
from service.core.search import Found, estimate_of


class Neighbour(NamedTuple):
    """A layout one step from the chosen one, and why it was not chosen."""

    change: str
    """`tensor 8 -> 4`"""
    reason: str
    seconds_ratio: float | None
    """Step time over that of the chosen layout; None where the layout is not valid."""
    peak_bytes: float | None


def neighbours(found: Found, index: int) -> list[Neighbour]:
    """Each degree of a layout doubled and halved, each other ZeRO stage and recomputation."""
    layout, recomputation, chosen = found.at(index)
    result = []
    for change, other, named in _steps(layout, recomputation):
        problem = _fault(found.question, other)
        if problem:
            result.append(Neighbour(change, problem, None, None))
            continue
        answer = estimate_of(found.question, found.terms, other, named)
        ratio = answer.step.total_seconds / chosen.step.total_seconds
        result.append(Neighbour(change, _reason(answer, ratio), ratio, answer.peak_bytes.value))
    return result


def _fault(question: Question, layout: Layout) -> str | None:
    return fault(question.network, layout, question.sequence_length, question.global_batch_size)


def _steps(layout: Layout, recomputation: str) -> Iterator[tuple[str, Layout, str]]:
    for name in ("tensor", "pipeline", "context", "expert", "interleave", "micro_batch_size"):
        now = getattr(layout, name)
        for value in (now / 2.0, now * 2.0):
            if value >= 1 and value == int(value):
                yield _step(layout, name, value, recomputation)
    for stage in range(4):
        if stage != layout.zero_stage:
            yield _step(layout, "zero_stage", float(stage), recomputation)
    for named in RECOMPUTATIONS:
        if named != recomputation:
            yield f"recomputation {recomputation} -> {named}", layout, named


def _step(layout: Layout, name: str, value: float, recomputation: str) -> tuple[str, Layout, str]:
    other = replace(layout, **{name: value})
    other = replace(other, sequence_parallel=float(other.tensor > 1))
    return f"{name} {getattr(layout, name):.0f} -> {value:.0f}", other, recomputation


def _reason(answer: Estimate, ratio: float) -> str:
    if answer.admission != FITS:
        over = answer.peak_bytes.high - answer.capacity_bytes
        return f"may need {over / GIB:.1f} GiB more than a device has"
    if ratio > 1.0005:
        return f"{100.0 * (ratio - 1.0):.1f} % slower"
    return "equally fast" if ratio > 0.9995 else f"{100.0 * (1.0 - ratio):.1f} % faster, but capped"
