"""The fitted terms of the step-time model; `service/calibration/throughput.py` writes the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.hardware import Accelerator
from service.core.numeric import Number
from service.core.parallelism import Kernels


class Coefficients(NamedTuple):
    """What measured runs say of one kind of accelerator; floats, or arrays in a sweep."""

    product_efficiency: Number
    """Share of the peak that a large matrix product reaches."""
    attention_efficiency: Number
    """Share of the peak that fused attention reaches."""
    memory_efficiency: Number
    """Share of the memory bandwidth that element-wise kernels reach."""
    io_share: Number
    """Part of a product's own traffic that its arithmetic does not hide."""
    launch_seconds: Number
    """Host time of one kernel launch."""
    inside_efficiency: Number
    """Share of the link inside a node that collectives reach."""
    outside_efficiency: Number
    """Share of the link between nodes that collectives reach."""
    call_seconds: Number
    """Time of one call to a collective beside its bytes."""
    data_overlap: Number
    """Share of the stage's work behind which data-parallel traffic can hide."""


@cache
def document() -> Mapping[str, Any]:
    """The calibration file: coefficients, intervals, and what they were fitted on."""
    text = files("service.core").joinpath("calibration_data/throughput.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def generation(accelerator: Accelerator) -> str:
    """The group of accelerators that share coefficients; `prior` where none was measured."""
    name = accelerator.name.lower()
    for group, prefixes in document()["generations"].items():
        if any(name.startswith(prefix) for prefix in prefixes):
            return str(group)
    return "prior"


@cache
def _coefficients(group: str, implementation: str) -> Coefficients:
    loaded = document()
    values = dict(loaded["prior"]) | loaded["fitted"].get(group, {})
    values |= loaded["implementations"].get(implementation, {})
    return Coefficients(**{name: values[name] for name in Coefficients._fields})


def coefficients(accelerator: Accelerator, kernels: Kernels) -> Coefficients:
    """The coefficients for a job on an accelerator."""
    return _coefficients(generation(accelerator), kernels.implementation)


def bounds(accelerator: Accelerator) -> tuple[float, float]:
    """Log-ratios of the 90 % interval to the step time: wider where nothing was measured."""
    intervals = document()["intervals"]
    found = intervals.get(generation(accelerator), intervals["general"])
    return found["low"], found["high"]
