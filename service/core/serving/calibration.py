"""Which calibrated coefficients serve an (accelerator, engine) pair, and how sure they are.

`service/calibration/serving.py` fits them by partial pooling: common values, an offset for each
engine and a smaller one for each pair that was measured. A pair without rows takes its engine's
values, an engine without rows the common ones; the interval is that of the matching level.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.serving.load import Engine
from service.core.uncertainty import Interval, relative

FITTED = (
    "bandwidth_efficiency",
    "cache_efficiency",
    "compute_efficiency",
    "layer_seconds",
    "tensor_layer_seconds",
    "sequence_seconds",
    "link_efficiency",
)
"""The fields of Engine that are fitted, in the order of the vectors in the file."""

ENGINES = ("vllm", "tensorrt-llm", "sglang", "llama.cpp", "transformers")


class Evidence(NamedTuple):
    """The coefficients of a pair and what they rest on."""

    engine: Engine
    level: str
    """`pair` (this accelerator with this engine was measured), `engine`, `none`."""
    low: float
    high: float
    """Log-ratios of the 90 % interval."""

    def interval(self, value: float) -> Interval:
        """A predicted time with its interval."""
        return relative(value, self.low, self.high)


@cache
def document() -> Mapping[str, Any]:
    """The calibration file."""
    text = files("service.core").joinpath("calibration_data/serving.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def evidence(accelerator: str, engine: str) -> Evidence:
    """The coefficients for an accelerator's slug and an engine's name."""
    found = document()
    common, engines, pairs = found["common"], found["engines"], found["pairs"]
    pair = f"{accelerator} {engine}"
    logs = [math.log(common[name]) for name in FITTED]
    for offsets in (engines.get(engine), pairs.get(pair)):
        if offsets is not None:
            logs = [a + b for a, b in zip(logs, offsets, strict=True)]
    level = "pair" if pair in pairs else "engine" if engine in engines else "none"
    bounds = found["intervals"][level]
    values = {name: math.exp(value) for name, value in zip(FITTED, logs, strict=True)}
    fraction = found["memory_fraction"].get(engine, found["memory_fraction"]["default"])
    settings = Engine(**values, memory_fraction=fraction, reserved_bytes=found["reserved_bytes"])
    return Evidence(settings, level, bounds["low"], bounds["high"])
