"""Verdicts: whether a job may start, and the smallest changes that would let it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from service.api import levers, mapping
from service.api.levers import Lever, Patch
from service.api.limits import Limits, wanted
from service.api.problems import ProblemError
from service.api.requests import EstimateRequest
from service.api.resolve.layouts import Budget, OverBudget
from service.api.resolve.ledger import Ledger
from service.api.resolve.training import TrainingJob
from service.api.responses import Change, VerdictSection
from service.core.estimate import AT_RISK, DOES_NOT_FIT, FITS, Estimate, limited_by
from service.core.hardware import GIB
from service.core.uncertainty import Interval

MOST_CHANGES = 5
ENOUGH_TOGETHER = 2
"""Combinations looked for where no single change is enough."""
MOST_WORK = 200_000
"""Of the searches for changes of one request, in layouts evaluated: about a tenth of a second."""
Answer = tuple[TrainingJob, Estimate]
Evaluate = Callable[[EstimateRequest], Answer]
EvaluateIfItFits = Callable[[EstimateRequest, int, Budget], Answer | None]
"""None for what is known to have a worse admission than that."""


class Outcome(NamedTuple):
    """What a change is judged by."""

    admission: int
    peak_bytes: Interval
    seconds: float
    """Of the job; of one output token when serving."""
    device_hours: float
    """Of the job; of one output token when serving."""
    usd: float | None
    """Of the job; of a million output tokens when serving. None without a price."""


Attempt = Callable[[EstimateRequest], Outcome | None]
"""None for what is known not to help."""
Found = tuple[Outcome, Patch]


def of_training(
    request: EstimateRequest,
    job: TrainingJob,
    answer: Estimate,
    evaluate: Evaluate,
    evaluate_if_it_fits: EvaluateIfItFits,
    priced: bool,
    limit: Callable[[Callable[[], Answer]], Limits],
    ledger: Ledger,
) -> VerdictSection:
    """The verdict on a training job.

    `evaluate` answers a changed request; `limit` says how few devices and how long a sequence
    fit, given what answers the job on as few devices as it fits on.
    """
    budget = Budget(MOST_WORK)
    worst = AT_RISK if answer.admission == DOES_NOT_FIT else FITS  # that a change is worth

    def attempt(changed: EstimateRequest) -> Outcome | None:
        found = evaluate_if_it_fits(changed, worst, budget)
        return None if found is None else _outcome(found[1], priced)

    changes: list[Change] = []
    if answer.admission != FITS:
        changes = smallest_changes(
            request,
            _outcome(answer, priced),
            attempt,
            levers.of_training(request, job),
            lambda: levers.together(request, job),
            ledger,
        )
    limits = Limits()
    if wanted(request, answer.admission == FITS):
        limits = limit(lambda: evaluate(patched(request, {"hardware": {"count": None}})))
    return VerdictSection(
        admission=mapping.admission(answer.admission),
        limited_by=limited_by(answer.memory),
        margin_bytes=float(answer.margin_bytes),
        smallest_changes=changes,
        **limits._asdict(),
    )


def _outcome(answer: Estimate, priced: bool) -> Outcome:
    return Outcome(
        int(answer.admission),
        answer.peak_bytes,
        float(answer.wall_clock_seconds.value),
        float(answer.device_hours.value),
        float(answer.spent.usd.value) if priced else None,
    )


def smallest_changes(
    request: EstimateRequest,
    before: Outcome,
    attempt: Attempt,
    single: Iterable[Lever],
    combined: Callable[[], Lever],
    ledger: Ledger,
) -> list[Change]:
    """The first setting of each lever that fits, or that may fit where none is sure to.

    Those that cost least device-hours, and so least money, come first; then the fastest. Where
    the budget of the attempts ends, those found until then.
    """
    found: list[Found] = []
    try:
        for lever in single:
            found += _first(request, before, attempt, lever, 1)
        if not found:
            found += _first(request, before, attempt, combined(), ENOUGH_TOGETHER)
    except OverBudget:
        message = "smallest_changes: too many layouts; not every change was tried"
        ledger.warn("changes-not-tried", message)
    found.sort(key=lambda pair: (pair[0].admission, pair[0].device_hours, pair[0].seconds))
    return [_change(patch, before, after) for after, patch in found[:MOST_CHANGES]]


def _first(
    request: EstimateRequest, before: Outcome, attempt: Attempt, lever: Lever, enough: int
) -> Iterator[Found]:
    """The first patches that are sure to fit; else the last that may, if it may more than now."""
    perhaps: Found | None = None
    for patch in lever:
        try:
            after = attempt(patched(request, patch))
        except (ProblemError, ValidationError):
            continue
        if after is None:
            continue
        if after.admission == FITS:
            yield after, patch
            enough -= 1
            if not enough:
                return
        elif after.admission < before.admission and before.admission == DOES_NOT_FIT:
            perhaps = after, patch
    if perhaps and enough:
        yield perhaps


def patched(request: EstimateRequest, patch: Mapping[str, Any]) -> EstimateRequest:
    """The request after a merge patch (RFC 7396) of anything but the model."""
    body = request.model_dump(mode="json", exclude_none=True, exclude={"model"})
    return EstimateRequest.model_validate(levers.merged(body, patch) | {"model": request.model})


def _change(patch: Patch, before: Outcome, after: Outcome) -> Change:
    """Such as `peak memory 61.2 -> 38.0 GiB, time +28 %, device-hours +28 %`."""
    peaks = " -> ".join(f"{each.peak_bytes.value / GIB:.1f}" for each in (before, after))
    slower, hours = after.seconds / before.seconds, after.device_hours / before.device_hours
    effect = f"peak memory {peaks} GiB, time {_percent(slower)}, device-hours {_percent(hours)}"
    moved = patch.get("workload", {}).get("offload")
    return Change(
        patch=patch,
        effect=f"{effect}; transfers to the host not counted" if moved else effect,
        admission=mapping.admission(after.admission),
        peak_bytes=mapping.predicted(after.peak_bytes),
        time_factor=slower,
        device_hours_factor=hours,
        extra_usd=None if before.usd is None or after.usd is None else after.usd - before.usd,
    )


def _percent(factor: float) -> str:
    return f"{100.0 * (factor - 1.0):+.0f} %"
