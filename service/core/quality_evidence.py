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

    @property
    def distance(self) -> int:
        """In how many of task, family and size it differs; task counts most."""
        return 4 * (not self.same_task) + 2 * (not self.same_family) + (not self.same_size)


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


def evidence(techniques: Sequence[str], task: str, family: str, parameters: float) -> Quality:
    """The findings for these techniques; `parameters` of the model that is compressed."""
    matched = sorted(
        (
            Matched(
                found,
                task in found.tasks,
                any(family.startswith(name) for name in found.families),
                _near(parameters, found.parameters),
            )
            for found in findings()
            if set(techniques) & set(found.techniques)
        ),
        key=lambda m: (m.distance, m.finding.id),
    )
    proven = all(_proven(name, matched) for name in techniques)
    return Quality(tuple(matched), proven, _advice(techniques, task, proven))


def _proven(name: str, matched: Sequence[Matched]) -> bool:
    return any(
        m.same_task and m.same_size and m.finding.use == "evidence"
        for m in matched
        if name in m.finding.techniques
    )


def _near(parameters: float, measured: tuple[float, float]) -> bool:
    smallest, largest = measured
    return smallest / SIZE_FACTOR <= parameters <= largest * SIZE_FACTOR


def _advice(techniques: Sequence[str], task: str, proven: bool) -> str:
    if not techniques:
        return "the same model: nothing to measure"
    if proven:
        return f"measured on {task} by others; check it on your own data"
    return f"measure this on {task}: not every change was measured on it at this size"
