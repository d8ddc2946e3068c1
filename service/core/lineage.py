"""Which models of a list are the smaller ones of a model, and which are beside them in bytes.

Relatives are of one maker's line, as `evidence_data/lineage.json` says with its sources; a model
that it does not know is of the line of its architecture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.architecture.network import Network
from service.core.weight_formats import weight_bytes

SAME_SIZE = 0.25
"""Models within this share of each other count as one size."""
MOST_SMALLER = 4
GENERATION_MONTHS = 12
"""A model released this long before another is of an earlier generation."""


class Relative(NamedTuple):
    """A model that might stand in for another."""

    name: str
    family: str
    released: str
    parameters: int
    network: Network


class Derived(NamedTuple):
    """Out of which larger model one was made, as its authors say."""

    name: str
    of: str
    """Empty where the larger model is not named, or is none of the catalog's."""
    how: tuple[str, ...]
    findings: tuple[str, ...]
    """Ids of the findings that measured this very pair."""
    source: str


@cache
def derived() -> Mapping[str, Derived]:
    """The known derivations by name."""
    found = (
        Derived(
            entry["name"],
            entry["of"],
            tuple(entry["how"]),
            tuple(entry.get("findings", ())),
            entry["source"],
        )
        for entry in _document()["derived"]
    )
    return {entry.name: entry for entry in found}


@cache
def _document() -> Mapping[str, Any]:
    text = files("service.core").joinpath("evidence_data/lineage.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def _lines() -> Mapping[str, str]:
    """The line that a prefix of a name or of a model_type belongs to."""
    return {prefix: entry["line"] for entry in _document()["lines"] for prefix in entry["prefixes"]}


def line(name: str, family: str) -> str:
    """The line of a model: its name's, else its architecture's, else the architecture itself."""
    return _of_prefix(name, _lines()) or _of_prefix(family, _lines()) or family


def specialised(name: str) -> str:
    """The task that a model was trained for alone; empty where it is a general one."""
    tasks = {entry["prefix"]: entry["task"] for entry in _document()["specialised"]}
    return _of_prefix(name, tasks)


def _of_prefix(name: str, known: Mapping[str, str]) -> str:
    """What belongs to the longest prefix of a name that ends where one of its words does."""
    spelled = name.lower().replace("_", "-")
    fitting = [p for p in known if re.match(rf"{re.escape(p)}(?![a-z])", spelled)]
    return known[max(fitting, key=len)] if fitting else ""


def related(a: Relative, b: Relative) -> bool:
    """Whether two models are of one maker's line, distilled and pruned ones included."""
    return line(a.name, a.family) == line(b.name, b.family)


def smaller(current: Relative, others: Iterable[Relative], task: str = "") -> list[Relative]:
    """The next smaller ones of the line, largest first.

    None that was trained for another task than `task` alone, unless the model in use was too. Of
    one size first what was made out of the model itself, then what bears its first name, then the
    newest. Nor one of an earlier generation than the model in use, where a newer one is smaller.
    """
    found = [
        other
        for other in others
        if related(current, other)
        and specialised(other.name) in ("", task, specialised(current.name))
        and other.parameters * (1.0 + SAME_SIZE) < current.parameters
    ]
    kept: list[Relative] = []
    current_ones = [other for other in found if not _superseded(other, current, found)]
    for other in sorted(current_ones, key=lambda r: _closeness(current, r), reverse=True):
        if all(not _same_size(other.parameters, one.parameters) for one in kept):
            kept.append(other)
    return sorted(kept, key=lambda r: r.parameters, reverse=True)[:MOST_SMALLER]


def _superseded(other: Relative, current: Relative, all_of: Iterable[Relative]) -> bool:
    if _months(current.released) - _months(other.released) < GENERATION_MONTHS:
        return False
    return any(
        one.parameters < other.parameters and _months(one.released) > _months(other.released)
        for one in all_of
    )


def _months(released: str) -> int:
    """Months of a date `2024-07`, `2024` or `2024-07-23`; 0 where none is known."""
    parts = [int(part) for part in released.split("-")[:2] if part]
    return 12 * parts[0] + (parts[1] if len(parts) > 1 else 1) if parts else 0


def _closeness(current: Relative, other: Relative) -> tuple[bool, bool, str, int]:
    made = derived().get(other.name)
    own = bool(current.name) and made is not None and made.of == current.name
    return own, _first_word(current) == _first_word(other), other.released, other.parameters


def _first_word(model: Relative) -> str:
    """`mixtral` of `mixtral-8x7b`, `llama` of `llama-3.1-8b`, else of the architecture."""
    return re.split(r"[\d.-]", model.name or model.family)[0]


def _same_size(a: int, b: int) -> bool:
    return max(a, b) <= min(a, b) * (1.0 + SAME_SIZE)


def same_bytes(
    stored: float, parameters: int, larger: Sequence[Relative], formats: Sequence[str]
) -> tuple[Relative, str] | None:
    """The largest model, in its widest format, that comes to about these bytes; None for none."""
    found = [
        (one.parameters, weight_bytes(one.network, weights).total, one, weights)
        for one in larger
        if one.parameters > parameters * (1.0 + SAME_SIZE)
        for weights in formats
    ]
    fitting = [entry for entry in found if entry[1] <= stored * (1.0 + SAME_SIZE)]
    if not fitting:
        return None
    _, _, one, weights = max(fitting, key=lambda entry: entry[:2])
    return one, weights
