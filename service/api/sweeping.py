"""/sweep: a base request and axes become the core's grid, and its columns an answer.

Axes that only set a number (tokens, a price, a grid intensity, devices that a given layout and
batch divide evenly) enter the core's arrays as they are; every combination of the others is
resolved as a request of its own.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import nan, prod
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from service.api import calibrating, sweeping_serving, validation
from service.api.evaluating import prepared
from service.api.problems import ProblemError, at, relocated
from service.api.provenance import provenance
from service.api.request_workloads import (
    FinetuningWorkload,
    InferenceWorkload,
    TrainingWorkload,
)
from service.api.requests import EstimateRequest
from service.api.resolve import models, training
from service.api.resolve.accounting import accounting
from service.api.resolve.layouts import OverBudget
from service.api.resolve.ledger import Ledger
from service.api.resolve.surroundings import surroundings
from service.api.sweep_axes import axis_columns, placed, places, requested
from service.api.sweep_columns import GETTERS, STANDARD, chosen
from service.api.sweep_models import SweepRequest, SweepResponse
from service.api.sweep_work import Work, too_much
from service.catalog.snapshot import Snapshot
from service.core import estimate as core
from service.core.finetuning import OBJECTIVES
from service.core.numeric import FloatArray
from service.core.offload import Host
from service.core.rollouts import Beside
from service.core.sweep import Grid, Numbers, Point, sweep

MOST_CELLS = 5_000_000
MOST_POINTS = 2_500
MOST_SEARCHES = 250
"""Points for which a layout has to be sought; what they cost is counted too (`sweep_work`)."""
_PLACES = ("/site", "/pricing")
"""Where a job runs and what that costs: all such points have the same layout."""

_ALWAYS = {
    "/workload/tokens": "tokens",
    "/pricing/usd_per_device_hour": "usd_per_device_hour",
    "/site/grid_gco2e_per_kwh": "site.grid",
    "/site/pue": "site.pue",
}


class Axis(NamedTuple):
    """One field that varies."""

    pointer: str
    values: Sequence[Any]
    target: str | None
    """What it sets in the core's arrays; None where requests are resolved for its values."""


def answer(request: SweepRequest, snapshot: Snapshot) -> SweepResponse:
    """All combinations. Raises ProblemError."""
    if isinstance(request.base.workload, InferenceWorkload):
        return sweeping_serving.answer(request, snapshot)
    pointers = chosen(request.columns, GETTERS, STANDARD)
    axes = _axes(request)
    _check_work(request, axes, pointers)
    ledger = Ledger()
    grid = _grid(request, axes, snapshot, ledger)
    swept = sweep(grid, {pointer: GETTERS[pointer] for pointer in pointers})
    columns = axis_columns(request.axes)
    for pointer in pointers:
        columns[pointer] = _listed(pointer, swept.columns[pointer])
    return SweepResponse.model_construct(
        rows=grid.rows,
        refused=swept.refused,
        columns=columns,
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot, ledger.runs),
    )


def as_csv(found: SweepResponse) -> str:
    """The columns as CSV; what was refused has empty cells."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(found.columns)
    writer.writerows(zip(*found.columns.values(), strict=True))
    return out.getvalue()


def _axes(request: SweepRequest) -> Sequence[Axis]:
    return [
        Axis(pointer, values, _target(request, pointer, values))
        for pointer, values in request.axes.items()
    ]


def _target(request: SweepRequest, pointer: str, values: Sequence[Any]) -> str | None:
    """What an axis of plain numbers sets; None where each value needs a request of its own."""
    if not all(type(value) in (int, float) for value in values):
        return None
    if pointer == "/hardware/count":
        return "layout.devices" if _divide_evenly(request, values) else None
    return _ALWAYS.get(pointer)


def _divide_evenly(request: SweepRequest, counts: Sequence[int | float]) -> bool:
    """Whether a given layout and batch come out even on every number of devices."""
    layout, workload = request.base.layout, request.base.workload
    varied = any(pointer.split("/")[1] in ("layout", "workload") for pointer in request.axes)
    if layout is None or varied or workload is None or isinstance(workload, InferenceWorkload):
        return False
    batch = workload.global_batch_size
    if batch is None or layout.expert is not None or _generates(workload):
        return False
    replica = (layout.tensor or 1) * (layout.pipeline or 1) * (layout.context or 1)
    micro = workload.micro_batch_size or 1
    return all(
        count >= replica and count % replica == 0 and batch % (micro * count // replica) == 0
        for count in counts
    )


def _generates(workload: TrainingWorkload) -> bool:
    """Whether a step generates its samples, in a time that its devices decide."""
    objective = workload.objective if isinstance(workload, FinetuningWorkload) else None
    return objective is not None and OBJECTIVES[objective].rollout


def _check_work(request: SweepRequest, axes: Sequence[Axis], pointers: Sequence[str]) -> None:
    cells = prod(len(axis.values) for axis in axes) * (len(axes) + len(pointers))
    if cells > MOST_CELLS:
        detail = f"the sweep has {cells} cells; at most {MOST_CELLS} are answered at once"
        raise at("too-much-work", "/axes", detail)
    choices = [axis for axis in axes if axis.target is None]
    points = prod(len(axis.values) for axis in choices)
    searches = prod(len(axis.values) for axis in choices if not axis.pointer.startswith(_PLACES))
    given = request.base.layout is not None
    if points > MOST_POINTS or (searches > MOST_SEARCHES and not given):
        most = MOST_POINTS if given or points > MOST_POINTS else MOST_SEARCHES
        detail = (
            f"the sweep combines {points} models, layouts and other choices; at most {most} are "
            f"answered at once {'with' if given else 'without'} a layout in base (tokens, prices "
            "and grids do not count)"
        )
        raise at("too-much-work", "/axes", detail)


def _grid(request: SweepRequest, axes: Sequence[Axis], snapshot: Snapshot, ledger: Ledger) -> Grid:
    body = request.base.model_dump(mode="json", exclude_none=True)
    _try_numbers(body, axes)
    choices = [axis for axis in axes if axis.target is None]
    points: list[Point | None] = []
    work = Work(request.base)
    for number, values in enumerate(itertools.product(*(axis.values for axis in choices))):
        merged = body
        taken = {axis.pointer: value for axis, value in zip(choices, values, strict=True)}
        for pointer, value in taken.items():
            merged = placed(merged, pointer.split("/")[1:], value)
        notes = ledger if number == 0 else Ledger()
        try:
            with relocated(places(request.axes, taken)):
                found = _point(_first_numbers(merged, axes), snapshot, notes, work)
        except OverBudget:
            points_in_all = prod(len(axis.values) for axis in choices)
            raise too_much(number, points_in_all) from None
        points.append(found)
    return Grid(
        tuple(len(axis.values) for axis in axes),
        tuple(i for i, axis in enumerate(axes) if axis.target is None),
        _alike(points),
        [
            Numbers(i, axis.target, [float(value) for value in axis.values])
            for i, axis in enumerate(axes)
            if axis.target is not None
        ],
    )


def _alike(points: Sequence[Point | None]) -> Sequence[Point | None]:
    """The points, with the items of a step in all of them where one has them."""
    known = [point.prepared for point in points if point is not None]
    for name, neutral in (("beside", Beside()), ("host", Host())):
        if any(getattr(job, name) is not None for job in known):
            points = [_with(point, name, neutral) for point in points]
    return points


def _with(point: Point | None, name: str, neutral: Any) -> Point | None:
    """The point with an item that changes nothing, where it has none."""
    if point is None or getattr(point.prepared, name) is not None:
        return point
    return point._replace(prepared=replace(point.prepared, **{name: neutral}))


def _first_numbers(body: dict[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """The body with the first value of each axis of numbers, so that it can be resolved."""
    for axis in axes:
        if axis.target is not None:
            body = placed(body, axis.pointer.split("/")[1:], axis.values[0])
    return body


def _try_numbers(body: dict[str, Any], axes: Sequence[Axis]) -> None:
    """Refuse a number that its field would not take, before anything is calculated."""
    for axis in axes:
        if axis.target is not None:
            for index in _decisive(axis.values):
                _validated(body, axis, index)


def _decisive(values: Sequence[float]) -> Sequence[int]:
    """Where the numbers stand that a field with bounds takes only if it takes all of them.

    The least, the largest, and the first that is not whole or no number.
    """
    places = range(len(values))
    odd = (place for place in places if isinstance(values[place], float))
    uneven = next((place for place in odd if not values[place].is_integer()), 0)
    unknown = next((place for place in places if values[place] != values[place]), 0)
    ends = min(places, key=values.__getitem__), max(places, key=values.__getitem__)
    return sorted({*ends, uneven, unknown})


def _validated(body: dict[str, Any], axis: Axis, index: int) -> None:
    try:
        EstimateRequest.model_validate(
            placed(body, axis.pointer.split("/")[1:], axis.values[index])
        )
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        detail, near = validation.sentence(finding, finding["loc"])
        pointer = validation.pointer(("axes", axis.pointer, index))
        raise at("invalid-request", pointer, f"{axis.pointer} {detail}", near) from None


def _point(body: dict[str, Any], snapshot: Snapshot, ledger: Ledger, work: Work) -> Point | None:
    """One resolved job; None where the combination makes no sense. Raises OverBudget."""
    request, snapshot = requested(body, snapshot)
    network = models.architecture(snapshot, request.model, ledger)
    if network is None or isinstance(request.workload, InferenceWorkload):
        detail = "a sweep needs a model with an architecture and a training workload"
        raise at("invalid-request", "", detail)
    work.point(network)
    around = surroundings(snapshot, request, ledger)
    try:
        job = training.resolve(network, request, around.accelerator, ledger, work.budget)
    except ProblemError as problem:
        if problem.kind == "impossible-layout":
            return None
        raise
    own = calibrating.correcting(snapshot, request.cluster, ledger)(job)
    calibrating.explain(own, request.cluster, ledger)
    return Point(
        prepared(job, own),
        job.layout,
        job.tokens,
        around.place.site,
        nan if around.price is None else around.price.usd_per_device_hour,
        accounting(request.accounting, ledger),
    )


def _listed(pointer: str, column: FloatArray) -> list[Any]:
    """A column as plain values: null where there is no finite number."""
    if pointer == "/verdict/admission":
        names = (*core.ADMISSION, None)
        return [names[int(code)] for code in np.where(np.isfinite(column), column, 3)]
    values: list[Any] = column.tolist()
    if np.isfinite(column).all():
        return values
    return [value if abs(value) < float("inf") else None for value in values]
