"""The columns that a sweep can answer: JSON pointers into the answer of /estimate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from service.core.estimate import Estimate
from service.core.numeric import Number
from service.core.uncertainty import Interval

Getter = Callable[[Estimate], Number]

_INTERVALS: Mapping[str, Callable[[Estimate], Interval]] = {
    "/memory/peak_bytes": lambda e: e.peak_bytes,
    "/time/step_seconds": lambda e: e.step_seconds,
    "/time/tokens_per_second_per_device": lambda e: e.tokens_per_second_per_device,
    "/time/model_flops_utilization": lambda e: e.model_flops_utilization,
    "/time/wall_clock_seconds": lambda e: e.wall_clock_seconds,
    "/time/device_hours": lambda e: e.device_hours,
    "/cost/usd": lambda e: e.spent.usd,
    "/carbon/energy_kwh": lambda e: e.spent.energy.total_kwh,
    "/carbon/operational_kgco2e": lambda e: e.spent.operational.location_kgco2e,
    "/carbon/embodied_kgco2e": lambda e: e.spent.embodied_kgco2e,
    "/carbon/total_kgco2e": lambda e: e.spent.total_kgco2e,
}
_NUMBERS: Mapping[str, Getter] = {
    "/memory/per_device/parameters_bytes": lambda e: e.memory.parameters_bytes,
    "/memory/per_device/gradients_bytes": lambda e: e.memory.gradients_bytes,
    "/memory/per_device/optimizer_bytes": lambda e: e.memory.optimizer_bytes,
    "/memory/per_device/activations_bytes": lambda e: (
        e.memory.activations_bytes + e.memory.temporaries_bytes
    ),
    "/memory/per_device/overhead_bytes": lambda e: e.memory.overhead_bytes,
    "/memory/capacity_bytes": lambda e: e.capacity_bytes,
    "/verdict/margin_bytes": lambda e: e.margin_bytes,
    "/verdict/admission": lambda e: e.admission,
}


def _bound(get: Callable[[Estimate], Interval], index: int) -> Getter:
    return lambda estimate: get(estimate)[index]


GETTERS: Mapping[str, Getter] = {
    **{
        f"{pointer}/{name}": _bound(get, index)
        for pointer, get in _INTERVALS.items()
        for index, name in enumerate(("value", "low", "high"))
    },
    **_NUMBERS,
}
STANDARD: Sequence[str] = (
    "/memory/peak_bytes/value",
    "/time/wall_clock_seconds/value",
    "/time/device_hours/value",
    "/cost/usd/value",
    "/carbon/total_kgco2e/value",
    "/verdict/admission",
)


def named(pointer: str) -> Sequence[str]:
    """Columns near to one that is not known."""
    whole = [name for name in GETTERS if name.startswith(pointer.rstrip("/") + "/")]
    return (whole or difflib.get_close_matches(pointer[:200], GETTERS, 3))[:3]
