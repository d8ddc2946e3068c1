"""Verdicts: whether a job may start, and the smallest changes that would let it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.api import mapping
from service.api.problems import ProblemError
from service.api.requests import EstimateRequest
from service.api.resolve.training import TrainingJob
from service.api.responses import Change, VerdictSection
from service.core.estimate import FITS, Estimate, limited_by
from service.core.hardware import GIB

MOST_CHANGES = 3
Answer = tuple[TrainingJob, Estimate]
Evaluate = Callable[[EstimateRequest], Answer]


def of_training(
    request: EstimateRequest, job: TrainingJob, answer: Estimate, evaluate: Evaluate
) -> VerdictSection:
    """The verdict on a training job. `evaluate` answers a changed request."""
    fits = answer.admission == FITS
    changes = [] if fits else list(_changes(request, job, answer, evaluate))
    return VerdictSection(
        admission=mapping.admission(answer.admission),
        limited_by=limited_by(answer.memory),
        margin_bytes=float(answer.margin_bytes),
        smallest_changes=changes,
    )


def _changes(
    request: EstimateRequest, job: TrainingJob, before: Estimate, evaluate: Evaluate
) -> Iterator[Change]:
    """Changes after which the job is sure to fit, those that cost least time first."""
    found: list[tuple[float, int, Change]] = []
    for patch in _patches(request, job):
        try:
            _, after = evaluate(patched(request, patch))
        except ProblemError:
            continue
        if after.admission == FITS:
            slower = after.device_hours.value / before.device_hours.value
            found.append((slower, len(found), Change(patch=patch, effect=_effect(before, after))))
    for _, _, change in sorted(found, key=lambda entry: entry[:2])[:MOST_CHANGES]:
        yield change


def _patches(request: EstimateRequest, job: TrainingJob) -> Iterator[dict[str, Any]]:
    """Single changes, then pairs, then more devices."""
    kind = request.workload.kind if request.workload else "pretraining"
    micro = int(job.layout.micro_batch_size)

    def workload(**changes: Any) -> dict[str, Any]:
        return {"workload": {"kind": kind, **changes}}

    if job.kernels.recomputation == "none":
        yield workload(recomputation="selective")
    if job.kernels.recomputation != "full":
        yield workload(recomputation="full")
    if micro > 1:
        yield workload(micro_batch_size=max(micro // 2, 1))
        yield workload(micro_batch_size=1)
        yield workload(micro_batch_size=1, recomputation="full")
    if job.kernels.optimizer == "adamw":
        yield workload(optimizer="adamw-8bit")
    yield from _divisions(request, job, workload)
    for factor in (2, 4, 8):
        yield {"hardware": {"count": int(job.layout.devices) * factor}}
    if request.layout is not None:
        yield {"layout": None}
        for factor in (2, 4, 8):
            yield {"layout": None, "hardware": {"count": int(job.layout.devices) * factor}}


def _divisions(
    request: EstimateRequest, job: TrainingJob, workload: Callable[..., dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Changes of a layout that was asked for."""
    if request.layout is None:
        return
    zero, tensor = int(job.layout.zero_stage), int(job.layout.tensor)
    for stage in range(zero + 1, 4):
        yield {"layout": {"zero_stage": stage}}
        yield {"layout": {"zero_stage": stage}, **workload(recomputation="full")}
    for ways in (tensor * 2, tensor * 4, tensor * 8):
        if ways <= job.accelerator.devices_per_node:
            yield {"layout": {"tensor": ways}}


def patched(request: EstimateRequest, patch: Mapping[str, Any]) -> EstimateRequest:
    """The request after a merge patch (RFC 7396)."""
    body = request.model_dump(mode="json", exclude_none=True)
    return EstimateRequest.model_validate(merged(body, patch))


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _effect(before: Estimate, after: Estimate) -> str:
    """Such as `peak memory 61.2 -> 38.0 GiB, time +28 %, device-hours +28 %`."""
    peaks = " -> ".join(f"{e.peak_bytes.value / GIB:.1f}" for e in (before, after))
    hours = after.device_hours.value / before.device_hours.value - 1.0
    wall = after.wall_clock_seconds.value / before.wall_clock_seconds.value - 1.0
    return f"peak memory {peaks} GiB, time {100 * wall:+.0f} %, device-hours {100 * hours:+.0f} %"
