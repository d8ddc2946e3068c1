"""What is known of a compressed model's quality: findings of others, looked up and never computed.

A finding has the technique, the tasks, the families and the sizes that it was measured for. One
that was measured for something else is shown as such or not at all, and where none fits the task
the answer is to measure. Nothing is interpolated between findings and no score is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Task = Literal[
    "classification",
    "extraction",
    "retrieval",
    "knowledge",
    "reasoning",
    "code",
    "chat",
    "instruction-following",
    "agentic",
    "language-modelling",
    "vision",
]
"""Task classes that a request may name."""
MADE = ("smaller", "distilled", "pruned")
"""Techniques that a finding about the very pair of models covers."""
SIZE_FACTOR = 2.0
"""Beyond this factor from the sizes that were measured a finding is about other sizes."""


@dataclass(frozen=True)
class Finding:
    """One published result."""

    id: str
    techniques: tuple[str, ...]
    tasks: tuple[str, ...]
    families: tuple[str, ...]
    parameters: tuple[float, float]
    """Smallest and largest model that it was measured on."""
    finding: str
    use: str
    """`evidence`, or `warning` for what is known to mislead."""
    numbers: Mapping[str, Any]
    confidence: str
    how_read: str
    limits: str
    source: str


@dataclass(frozen=True)
class Matched:
    """A finding, and how close it is to the question."""

    finding: Finding
    same_task: bool
    same_family: bool
    same_size: bool
    same_pair: bool
    """Whether it measured the smaller model against the one in use, these very two."""

    @property
    def distance(self) -> int:
        """In how many of task, pair, family and size it differs; the earlier count most."""
        differs = (not self.same_task, not self.same_pair, not self.same_family, not self.same_size)
        return sum(1 << place for place, found in enumerate(reversed(differs)) if found)

    @property
    def proves(self) -> bool:
        """Whether it is evidence for this task; what is known to mislead is not."""
        return self.same_task and self.finding.use == "evidence"


@dataclass(frozen=True)
class Quality:
    """The evidence for one alternative."""

    matched: tuple[Matched, ...]
    """The closest first."""
    measured_on_task: bool
    """Whether each technique has a finding for this task and for models of this size."""
    advice: str


@cache
def findings() -> tuple[Finding, ...]:
    """All findings of the file."""
    text = files("service.core").joinpath("evidence_data/compression.json").read_text("utf-8")
    return tuple(_finding(entry) for entry in json.loads(text)["findings"])


def _finding(entry: Mapping[str, Any]) -> Finding:
    lists = ("techniques", "tasks", "families", "parameters")
    return Finding(**(dict(entry) | {name: tuple(entry[name]) for name in lists}))


def technique(weights: str) -> str | None:
    """The technique of a weight format; None for 16 and 32 bits."""
    if weights.startswith("gguf:"):
        return None if weights in ("gguf:F16", "gguf:BF16", "gguf:F32") else "gguf"
    head = weights.split("-")[0]
    return None if head in ("bf16", "fp16", "fp32") else head


def evidence(
    techniques: Sequence[str],
    task: str,
    family: str,
    parameters: float,
    of_pair: Sequence[str] = (),
) -> Quality:
    """The findings for these techniques; `parameters` of the model that is compressed.

    `of_pair`: ids of those that measured the smaller model against the one in use.
    """
    matched = sorted(
        (
            Matched(
                found,
                task in found.tasks,
                any(family.startswith(name) for name in found.families),
                _near(parameters, found.parameters),
                found.id in of_pair,
            )
            for found in findings()
            if set(techniques) & set(found.techniques)
        ),
        key=lambda m: (m.distance, m.finding.id),
    )
    known = any(m.same_pair and m.proves for m in matched)
    proven = all((known and name in MADE) or _proven(name, matched) for name in techniques)
    return Quality(tuple(matched), proven, _advice(techniques, task, proven))


def _proven(name: str, matched: Sequence[Matched]) -> bool:
    return any(m.proves and m.same_size for m in matched if name in m.finding.techniques)


def _near(parameters: float, measured: tuple[float, float]) -> bool:
    smallest, largest = measured
    return smallest / SIZE_FACTOR <= parameters <= largest * SIZE_FACTOR


def _advice(techniques: Sequence[str], task: str, proven: bool) -> str:
    if not techniques:
        return "the same model: nothing to measure"
    if proven:
        return f"measured on {task} by others; check it on your own data"
    return f"measure this on {task}: not every change was measured on it at this size"
