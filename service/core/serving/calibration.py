"""Which calibrated coefficients serve an (accelerator, engine) pair, and how sure they are.

`service/calibration/serving.py` fits them by partial pooling: common values, an offset for each
engine, one for each engine's kernels for a class of weight formats, one for each generation of
accelerators, and one for each pair that was measured. What was not measured takes the level above,
and the interval is that of the level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.hardware import generation
from service.core.numeric import Number, exp
from service.core.serving.load import Engine
from service.core.uncertainty import Interval, relative

SHARES = (
    "bandwidth_efficiency",
    "cache_efficiency",
    "compute_efficiency",
    "expert_efficiency",
    "attention_efficiency",
    "link_efficiency",
    "overlap",
    "pipelining",
)
"""Coefficients between 0 and 1; the file holds their logits."""
POSITIVE = (
    "stage_cost",
    "layer_seconds",
    "launch_seconds",
    "tensor_layer_seconds",
    "dealing_cost",
    "sequence_seconds",
    "step_seconds",
)
"""Coefficients above 0; the file holds their logarithms."""
FITTED = (*SHARES, *POSITIVE)
"""The order of the vectors in the file."""

FIRST_TOKEN = ("first_prompt", "first_steps", "first_neighbours")
"""Coefficients of the time to the first token, by engine; the file holds them as they are."""

ENGINES = ("vllm", "tensorrt-llm", "sglang", "llama.cpp", "transformers")
EAGER = ("transformers",)
"""Engines that launch each kernel from Python."""

LEVELS = ("pair", "engine", "none")
"""What was measured: this accelerator with this engine; the engine elsewhere; neither."""


class Evidence(NamedTuple):
    """The coefficients of a pair and what they rest on."""

    engine: Engine
    level: str
    bounds: Mapping[str, tuple[float, float]]
    """Log-ratios of the 90 % interval by quantity: `step`, `prefill`, `first_token`."""

    def interval(self, quantity: str, value: Any) -> Interval:
        """A predicted time with its interval."""
        return relative(value, *self.bounds[quantity])


@cache
def document() -> Mapping[str, Any]:
    """The calibration file."""
    text = files("service.core").joinpath("calibration_data/serving.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def eagerness(engine: str) -> float:
    """1 for an engine that launches each kernel from Python, 0 for another."""
    return float(engine in EAGER)


def engine_of(vector: Any, eager: Number) -> Engine:
    """The coefficients of a vector of logits and logarithms; floats or arrays."""
    shares = {name: _share(value) for name, value in zip(SHARES, vector, strict=False)}
    positive = zip(POSITIVE, vector[len(SHARES) :], strict=True)
    return Engine(eager=eager, **shares, **{name: exp(value) for name, value in positive})


def _share(logit: Any) -> Any:
    return 1.0 / (1.0 + exp(-logit))


@cache
def evidence(accelerator: str, engine: str, weights_class: str) -> Evidence:
    """The coefficients for an accelerator's slug, an engine's name and a class of formats."""
    found = document()
    pair = f"{accelerator} {engine}"
    vector = [float(value) for value in found["common"]]
    for block, key in (
        ("engines", engine),
        ("kernels", f"{engine} {weights_class}"),
        ("generations", generation(accelerator)),
        ("pairs", pair),
    ):
        offsets = found[block].get(key)
        if offsets is not None:
            vector = [a + b for a, b in zip(vector, offsets, strict=True)]
    level = "pair" if pair in found["pairs"] else "engine" if engine in found["engines"] else "none"
    first = found["first_token"]
    waiting = dict(zip(FIRST_TOKEN, first["engines"].get(engine, first["common"]), strict=True))
    bounds = _bounds(found["intervals"][level] | {"first_token": first["intervals"]}, engine)
    return Evidence(replace(engine_of(vector, eagerness(engine)), **waiting), level, bounds)


def _bounds(level: Mapping[str, Any], engine: str) -> Mapping[str, tuple[float, float]]:
    return {
        quantity: tuple(by_engine.get(engine, by_engine["any"]))
        for quantity, by_engine in level.items()
    }
