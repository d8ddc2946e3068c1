"""Which calibrated coefficients serve an (accelerator, engine) pair, and how sure they are.

`service/calibration/serving.py` fits them by partial pooling: common values, an offset for each
engine, one for each engine's kernels for a class of weight formats, one for each generation of
accelerators, and one for each pair that was measured. What was not measured takes the level above,
and the interval is that of the level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    formats_measured: bool
    """Whether the engine was measured with weights of this class, or they are in 16 bits."""
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


def peak(held: Any, passing: Any = 0.0) -> Interval:
    """A replica's peak memory with its interval.

    `passing` bytes of it live within the first pass only, and what was observed may be without
    them: the lower bound is.
    """
    low, high = document()["peak"]
    return Interval(held, (held - passing) * exp(low), held * exp(high))


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
    pair, kernels = f"{accelerator} {engine}", f"{engine} {weights_class}"
    vector = [float(value) for value in found["common"]]
    for block, key in (
        ("engines", engine),
        ("kernels", kernels),
        ("generations", generation(accelerator)),
        ("pairs", pair),
    ):
        offsets = found[block].get(key)
        if offsets is not None:
            vector = [a + b for a, b in zip(vector, offsets, strict=True)]
    level = "pair" if pair in found["pairs"] else "engine" if engine in found["engines"] else "none"
    formats_measured = weights_class == "16-bit" or kernels in found["kernels"]
    first = found["first_token"]
    waiting = dict(zip(FIRST_TOKEN, first["engines"].get(engine, first["common"]), strict=True))
    names = (pair, engine) if formats_measured else ()
    sure = level if formats_measured or level == "none" else "engine"
    bounds = {
        quantity: own_bounds(
            {each: found["intervals"][each][quantity] for each in LEVELS}, sure, names
        )
        for quantity in ("step", "prefill")
    }
    bounds["first_token"] = own_bounds({"pair": first["intervals"]}, "pair", names)
    fitted = replace(engine_of(vector, eagerness(engine)), **waiting)
    return Evidence(fitted, level, formats_measured, bounds)


def own_bounds(
    by_level: Mapping[str, Mapping[str, Any]], level: str, names: Sequence[str]
) -> tuple[float, float]:
    """The bounds of the first of `names` that has its own at the level; else those of `any`.

    A pair whose engine was never measured in the quantity is as sure as that engine elsewhere.
    """
    known, elsewhere = by_level[level], by_level.get("engine", by_level[level])
    own = [known[name] for name in names if name in known]
    measured = level != "pair" or any(name in elsewhere for name in names)
    low, high = own[0] if own else (known if measured else elsewhere)["any"]
    return low, high
