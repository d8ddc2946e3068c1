"""The columns that a sweep can answer: JSON pointers into the answer of /estimate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence

from service.api.problems import at
from service.api.responses import StepShares
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


def _share(part: str) -> Getter:
    return lambda estimate: estimate.step.share(part)


def _bound(get: Callable[[Estimate], Interval], index: int) -> Getter:
    return lambda estimate: get(estimate)[index]


GETTERS: Mapping[str, Getter] = {
    **{
        f"{pointer}/{name}": _bound(get, index)
        for pointer, get in _INTERVALS.items()
        for index, name in enumerate(("value", "low", "high"))
    },
    **_NUMBERS,
    **{f"/time/step_shares/{part}": _share(part) for part in StepShares.model_fields},
}
STANDARD: Sequence[str] = (
    "/memory/peak_bytes/value",
    "/time/wall_clock_seconds/value",
    "/time/device_hours/value",
    "/cost/usd/value",
    "/carbon/total_kgco2e/value",
    "/verdict/admission",
)


_OF_SERVING = (
    "prefill_seconds",
    "first_token_seconds",
    "decode_seconds_per_token",
    "output_tokens_per_second",
    "requests_per_second",
    "usd_per_million_output_tokens",
    "joules_per_output_token",
    "gco2e_per_output_token",
)
SERVED: Sequence[str] = (
    "/memory/capacity_bytes",
    *(f"/memory/peak_bytes/{name}" for name in Interval._fields),
    *(f"/serving/{field}/{name}" for field in _OF_SERVING for name in Interval._fields),
    "/serving/weights_bytes",
    "/serving/kv_cache_bytes_per_token",
    "/serving/max_concurrency",
    "/serving/mean_concurrency",
    "/serving/in_flight",
    "/serving/calibration",
    "/serving/fleet/devices",
    "/serving/fleet/replicas",
    "/serving/fleet/attention_data_parallel",
    "/serving/fleet/usd_per_million_output_tokens",
    "/layout/devices",
    "/layout/tensor",
    "/layout/data",
    "/layout/attention_data_parallel",
    "/verdict/margin_bytes",
    "/verdict/admission",
)
"""Columns of a sweep whose workload is inference."""
STANDARD_SERVED: Sequence[str] = (
    "/memory/peak_bytes/value",
    "/serving/decode_seconds_per_token/value",
    "/serving/output_tokens_per_second/value",
    "/serving/usd_per_million_output_tokens/value",
    "/serving/gco2e_per_output_token/value",
    "/layout/devices",
    "/verdict/admission",
)


def chosen(
    columns: Sequence[str] | None, known: Collection[str], standard: Sequence[str]
) -> Sequence[str]:
    """The columns that were asked for, each once. Raises ProblemError for one that is not known."""
    for index, pointer in enumerate(columns or ()):
        if pointer not in known:
            near = _near(pointer, known)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            detail = f"{pointer[:80]} is not a column of a sweep{hint}"
            raise at("invalid-request", f"/columns/{index}", detail, near)
    return list(dict.fromkeys(columns or standard))


def _near(pointer: str, known: Collection[str]) -> Sequence[str]:
    whole = [name for name in known if name.startswith(pointer.rstrip("/") + "/")]
    return (whole or difflib.get_close_matches(pointer[:200], known, 3))[:3]
