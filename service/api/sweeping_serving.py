"""/sweep of a served model: each combination is a request of its own, answered without advice."""

from __future__ import annotations

import itertools
from math import isfinite, prod
from typing import Any

from service.api import estimating_serving, mapping
from service.api.problems import ProblemError, at, relocated
from service.api.provenance import provenance
from service.api.request_workloads import InferenceWorkload
from service.api.resolve import drafts, models
from service.api.resolve.layouts import OverBudget
from service.api.resolve.ledger import Ledger
from service.api.resolve.surroundings import surroundings
from service.api.sweep_axes import axis_columns, placed, places, requested
from service.api.sweep_columns import SERVED, STANDARD_SERVED, chosen
from service.api.sweep_models import SweepRequest, SweepResponse
from service.api.sweep_work import Work, too_much
from service.catalog.snapshot import Snapshot
from service.core.estimate import admission
from service.core.serving import dealing

MOST_SERVED = 1_000
"""Combinations of a served model; a fifth of a millisecond each."""


def answer(request: SweepRequest, snapshot: Snapshot) -> SweepResponse:
    """All combinations. Raises ProblemError."""
    pointers = chosen(request.columns, SERVED, STANDARD_SERVED)
    rows = prod(len(values) for values in request.axes.values())
    if rows > MOST_SERVED:
        detail = f"{rows} combinations; at most {MOST_SERVED} of a served model are answered"
        raise at("too-much-work", "/axes", f"the sweep has {detail} at once")
    ledger, found, work = Ledger(), [], Work(request.base)
    body = request.base.model_dump(mode="json", exclude_none=True)
    for number, values in enumerate(itertools.product(*request.axes.values())):
        merged, taken = body, dict(zip(request.axes, values, strict=True))
        for pointer, value in taken.items():
            merged = placed(merged, pointer.split("/")[1:], value)
        try:
            with relocated(places(request.axes, taken)):
                sections = _sections(merged, snapshot, Ledger() if number else ledger, work)
        except OverBudget:
            raise too_much(number, rows) from None
        found.append([_at(sections, pointer) for pointer in pointers])
    columns = dict(zip(pointers, map(list, zip(*found, strict=True)), strict=True))
    return SweepResponse.model_construct(
        rows=rows,
        refused=sum(all(value is None for value in row) for row in found),
        columns=axis_columns(request.axes) | columns,
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot, ledger.runs),
    )


def _sections(
    body: dict[str, Any], snapshot: Snapshot, ledger: Ledger, work: Work
) -> dict[str, Any]:
    """What one combination comes to; nothing where no replica can be divided so.

    Raises OverBudget.
    """
    request, snapshot = requested(body, snapshot)
    workload = request.workload
    network = models.architecture(snapshot, request.model, ledger)
    generates = network is not None and network.causal and network.tokens
    if not isinstance(workload, InferenceWorkload) or network is None or not generates:
        detail = "a sweep of inference needs models with an architecture that generates text"
        raise at("invalid-request", "", detail)
    both = workload.engine == dealing.MEASURED and network.experts() > 0
    work.point(network, 0 if workload.load is None else 1 + both)
    around = surroundings(snapshot, request, ledger)
    draft = drafts.draft(workload.draft, network, snapshot, ledger)
    try:
        job, found = estimating_serving.answered(
            request, network, around.accelerator, draft, ledger
        )
    except ProblemError as problem:
        if problem.kind == "impossible-layout":
            return {}
        raise
    peak = estimating_serving.peak(found)
    return estimating_serving.told(request, network, around, job, found) | {
        "verdict": {
            "margin_bytes": float(found.capacity_bytes - peak.value),
            "admission": mapping.admission(admission(peak, found.capacity_bytes)),
        }
    }


def _at(sections: dict[str, Any], pointer: str) -> Any:
    """The value at a pointer; None where there is no such, or no finite, number."""
    value: Any = sections
    for name in pointer.split("/")[1:]:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        if value is None:
            return None
    return None if isinstance(value, float) and not isfinite(value) else value
