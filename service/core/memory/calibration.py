"""The fitted terms of the memory model; `service/calibration/memory.py` writes the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def document() -> Mapping[str, Any]:
    """The calibration file: coefficients, intervals, and what they were fitted on."""
    text = files("service.core").joinpath("calibration_data/memory.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def coefficients() -> Mapping[str, float]:
    """Each fitted term by name, in bytes or as a fraction."""
    return {name: entry["value"] for name, entry in document()["coefficients"].items()}
