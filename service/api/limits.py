"""How few devices, and how long a sequence, still leave a job sure to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from service.api.problems import ProblemError
from service.api.requests import EstimateRequest
from service.api.resolve import realisable
from service.api.resolve.ledger import Ledger
from service.api.resolve.training import TrainingJob
from service.core.estimate import FITS, Estimate, Prepared, admission, worst_memory
from service.core.numeric import Number
from service.core.serving.composition import ServingJob
from service.core.uncertainty import relative

GRANULE = 128
"""Tokens in whose multiples a longest sequence is stated."""
LONGEST = 1 << 27
MOST_RANKS = 4096


class Limits(NamedTuple):
    """None where there is none, or where it was not asked."""

    fewest_devices: int | None = None
    longest_sequence: int | None = None


def wanted(request: EstimateRequest, fits: bool) -> bool:
    """Whether limits are said: as asked, else where the job is not sure to fit."""
    return not fits if request.limits is None else request.limits


def of_training(
    request: EstimateRequest,
    job: TrainingJob,
    prepared: Prepared,
    searched: Callable[[], tuple[TrainingJob, Estimate]],
    ledger: Ledger,
) -> Limits:
    """The limits of a training job. `searched` answers it on as few devices as it fits on."""
    found = Limits(_fewest(request, job, prepared, searched), _longest(job, prepared))
    if found.fewest_devices is None:
        message = "fewest_devices: the job is sure to fit on no number of devices as it is"
        ledger.warn("no-fewest-devices", message)
    if found.longest_sequence is None:
        reason = "none fits" if job.network.tokens else "the model has a fixed input"
        ledger.warn("no-longest-sequence", f"longest_sequence: {reason}")
    return found


def of_serving(
    job: ServingJob,
    ways: Sequence[ServingJob],
    fits: Callable[[ServingJob], Number],
    ledger: Ledger,
) -> Limits:
    """The limits of a serving job: over the ways that a node allows, the pipeline kept."""
    devices = (int(way.tensor * way.data * way.pipeline) for way in ways if fits(way))
    fewest = next(devices, None)

    def longer(lengths: np.ndarray) -> np.ndarray:
        prompts = np.maximum(lengths * float(GRANULE) - job.output_tokens, 0.0)
        return np.asarray(fits(replace(job, prompt_tokens=prompts)))

    longest = largest(longer, LONGEST // GRANULE, GRANULE)
    if longest is not None and longest <= job.output_tokens:
        longest = None
    if fewest is None:
        ledger.warn("no-fewest-devices", "fewest_devices: too large for the devices of a node")
    if longest is None:
        ledger.warn("no-longest-sequence", "longest_sequence: none fits on these devices")
    return Limits(fewest, longest)


def _admission(prepared: Prepared, job: TrainingJob, devices: float) -> Number:
    parts, _ = worst_memory(prepared, replace(job.layout, devices=devices))
    peak = relative(parts.peak * prepared.memory_factor, *prepared.memory_bounds)
    return admission(peak, prepared.device.memory_bytes)


def _fewest(
    request: EstimateRequest,
    job: TrainingJob,
    prepared: Prepared,
    searched: Callable[[], tuple[TrainingJob, Estimate]],
) -> int | None:
    """In the degrees asked for, with the same batch; in the best layout where none was."""
    if request.layout is None:
        try:
            fewest, answer = searched()
        except ProblemError:
            return None
        return int(fewest.layout.devices) if answer.admission == FITS else None
    replica = job.layout.tensor * job.layout.pipeline * job.layout.context
    for ranks in range(1, MOST_RANKS + 1):
        layout = replace(job.layout, devices=replica * ranks)
        if layout.global_batch_size % (layout.micro_batch_size * ranks):
            continue
        if _admission(prepared, job, layout.devices) != FITS:
            continue
        try:
            realisable.check(job.network, layout, job.sequence_length)
        except ProblemError:
            continue
        return int(layout.devices)
    return None


def _longest(job: TrainingJob, prepared: Prepared) -> int | None:
    """In the job's own layout; by memory alone, whatever the model was trained for."""
    if not job.network.tokens:
        return None
    granule = int(np.lcm(GRANULE, int(job.layout.context)))

    def fits(lengths: np.ndarray) -> np.ndarray:
        longer = replace(prepared, sequence_length=lengths * float(granule))
        return np.asarray(_admission(longer, job, job.layout.devices) == FITS)

    return largest(fits, LONGEST // granule, granule)


def largest(fits: Callable[[np.ndarray], np.ndarray], most: int, granule: int) -> int | None:
    """The largest multiple of a granule that fits, found in columns; None where none does.

    `fits` takes numbers of granules; what fits above one that does not is not looked for.
    """
    low, high = 0, most
    while high - low > 1:
        tried = np.unique(np.geomspace(low + 1, high, 64).astype(int))
        good = np.broadcast_to(fits(tried), tried.shape)
        if good.all():
            return int(tried[-1]) * granule
        first_bad = int(good.argmin())
        if tried[first_bad] - 1 == low:
            break
        low, high = (int(tried[first_bad - 1]) if first_bad else low), int(tried[first_bad])
    return low * granule or None
