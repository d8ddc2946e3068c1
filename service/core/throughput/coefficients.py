"""The fitted terms of the step-time model; `service/calibration/throughput.py` writes the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core import hardware
from service.core.hardware import Accelerator
from service.core.numeric import Number
from service.core.parallelism import Kernels


class Coefficients(NamedTuple):
    """What measured runs say of one kind of accelerator; floats, or arrays in a sweep."""

    product_efficiency: Number
    """Share of the peak that large matrix products reach."""
    narrow_efficiency: Number
    """What 8-bit products reach of their peak, over what 16-bit products reach of theirs."""
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
    tensor_exposure: Number
    """Share of the tensor group's traffic that products do not hide, under sequence parallelism:
    kernels that send one tile while they compute the next (Wang et al. 2023, ASPLOS)."""
    data_exposure: Number
    """Gradients and gathered parameters that travel beside the work, as the work feels them."""


@cache
def document() -> Mapping[str, Any]:
    """The calibration file: coefficients, intervals, and what they were fitted on."""
    text = files("service.core").joinpath("calibration_data/throughput.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def generation(accelerator: Accelerator) -> str:
    """The group of accelerators that share coefficients; `prior` where none was measured."""
    group = hardware.generation(accelerator.name.lower())
    return group if group in document()["generations"] else "prior"


def ceiling(accelerator: Accelerator) -> float:
    """Share of the peak that the best of all matrix products was measured to reach."""
    known = document()["ceilings"]
    return float(known.get(accelerator.name.lower(), known["default"]))


@lru_cache(maxsize=1024)
def coefficients(accelerator: Accelerator, kernels: Kernels) -> Coefficients:
    """The coefficients for a job on an accelerator: a shared prior times what was measured."""
    return _coefficients(accelerator, kernels.implementation)


def _coefficients(accelerator: Accelerator, implementation: str) -> Coefficients:
    loaded = document()
    group = generation(accelerator)
    values = dict(loaded["prior"])
    levels = (group, implementation, f"{group}.{implementation}", accelerator.name.lower())
    for level in levels:
        for name, factor in loaded["factors"].get(level, {}).items():
            values[name] *= factor
    values["product_efficiency"] *= ceiling(accelerator)
    return Coefficients(**values)


def bounds(accelerator: Accelerator, experts: bool = False) -> tuple[float, float]:
    """Log-ratios of the 90 % interval to the step time.

    Wider where nothing was measured, and for mixtures of `experts`, whose times scatter more.
    """
    intervals = document()["intervals"]
    found = intervals.get(generation(accelerator), intervals["general"])
    if not experts:
        return found["low"], found["high"]
    sparse = intervals["experts"]
    return min(found["low"], sparse["low"]), max(found["high"], sparse["high"])
