"""The fitted terms of the memory model; `service/calibration/memory.py` writes the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

_loaded: dict[str, Any] = {}
_values: dict[str, float] = {}
_dependents: list[Callable[[], None]] = []


def document() -> Mapping[str, Any]:
    """The calibration file: coefficients, intervals, and what they were fitted on."""
    if not _loaded:
        reload()
    return _loaded


def coefficients() -> Mapping[str, float]:
    """Each fitted term by name, in bytes, as a fraction or in copies."""
    if not _values:
        reload()
    return _values


def reload() -> None:
    """Reads the file anew."""
    text = files("service.core").joinpath("calibration_data/memory.json").read_text("utf-8")
    _loaded.clear()
    _loaded.update(json.loads(text))
    _set({name: entry["value"] for name, entry in _loaded["coefficients"].items()})


def folded(clear: Callable[[], None]) -> None:
    """Names a cache whose entries hold coefficients."""
    _dependents.append(clear)


@contextmanager
def using(values: Mapping[str, float]) -> Iterator[None]:
    """Other coefficients for a while; for fitting alone, not for concurrent use."""
    before = dict(coefficients())
    _set(before | dict(values))
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, float]) -> None:
    _values.clear()
    _values.update(values)
    for clear in _dependents:
        clear()
