"""Which models of a list are the smaller ones of a model, and which are beside them in bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.weight_formats import weight_bytes

SAME_SIZE = 0.25
"""Models within this share of each other count as one size."""
MOST_SMALLER = 4


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
    how: tuple[str, ...]
    source: str


@cache
def derived() -> dict[str, Derived]:
    """The known derivations by name."""
    text = files("service.core").joinpath("evidence_data/derived.json").read_text("utf-8")
    found = (
        Derived(**entry | {"how": tuple(entry["how"])}) for entry in json.loads(text)["models"]
    )
    return {entry.name: entry for entry in found}


def related(a: Relative, b: Relative) -> bool:
    """Whether two models are of one family: architecture and, where both have one, first name."""
    same_family = _stem(a.family) == _stem(b.family)
    return same_family and (not a.name or not b.name or _stem(a.name) == _stem(b.name))


def _stem(name: str) -> str:
    """`qwen` of `qwen3_moe`, `llama` of `llama-3.1-8b`, `gpt_oss` of itself."""
    return re.split(r"[\d.]", name)[0].rstrip("-_").split("-")[0]


def smaller(current: Relative, others: Iterable[Relative]) -> list[Relative]:
    """The next smaller ones of the family, largest first; of one size the newest."""
    found = [
        other
        for other in others
        if related(current, other) and other.parameters * (1.0 + SAME_SIZE) < current.parameters
    ]
    kept: list[Relative] = []
    for other in sorted(found, key=lambda r: (r.released, r.parameters), reverse=True):
        if all(not _same_size(other.parameters, one.parameters) for one in kept):
            kept.append(other)
    return sorted(kept, key=lambda r: r.parameters, reverse=True)[:MOST_SMALLER]


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
