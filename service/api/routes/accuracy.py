"""The public record: what was predicted for measured runs, those posted by callers among them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from service.api.bounded import ApiModel
from service.api.judging_runs import judged
from service.api.state import snapshot
from service.calibration import backtest
from service.calibration.rows import BacktestRow, Summary, summary
from service.catalog.snapshot import Snapshot

router = APIRouter(tags=["record"])
By = Literal["source", "quantity", "accelerator", "family", "cluster"]
Filter = Annotated[str | None, Query(max_length=200)]
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}


class AccuracyGroup(ApiModel):
    """Errors of a group of rows, relative to what was observed."""

    name: str
    rows: int
    median_error: float = Field(description="Of the absolute error.")
    p90_error: float
    worst_error: float
    bias: float = Field(description="Median of the signed error: above 0 where we say too much.")
    set_aside: int = Field(description="Rows that the fit had not seen.")
    coverage: float | None = Field(
        description="Share of the rows set aside that the interval holds; null where none was."
    )


class AccuracyRow(ApiModel):
    """One measured or published figure beside our estimate of it."""

    source: str
    quantity: str
    case: str
    observed: float
    value: float
    low: float
    high: float
    set_aside: bool
    family: str
    accelerator: str
    cluster: str


class AccuracyResponse(ApiModel):
    """The record, grouped, and the rows behind it."""

    interval: float = Field(description="Level of the intervals: the coverage to be hoped for.")
    groups: list[AccuracyGroup]
    items: list[AccuracyRow]
    next: int | None = Field(description="The `offset` of the next page of rows.")


@router.get(
    "/accuracy",
    name="accuracy",
    summary="Predicted against measured",
    response_model=AccuracyResponse,
    responses=_CSV,
)
def get_accuracy(
    request: Request,
    by: By = "source",
    quantity: Filter = None,
    source: Filter = None,
    accelerator: Filter = None,
    family: Filter = None,
    cluster: Filter = None,
    limit: Annotated[int, Query(ge=0, le=5_000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> AccuracyResponse | Response:
    """The back-test and the runs posted here, by the code that answers requests; JSON or CSV.

    Runs are judged by their cluster's other runs. `by=cluster` and `cluster` tell of runs alone:
    the published ones too, which otherwise stand in the back-test under their source.
    """
    wanted = {
        "quantity": quantity,
        "source": source,
        "accelerator": accelerator,
        "family": family,
    }
    rows = [
        row
        for row in _rows(snapshot(request), by, cluster)
        if all(value is None or getattr(row, name) == value for name, value in wanted.items())
    ]
    if "text/csv" in request.headers.get("accept", ""):
        return Response(_as_csv(rows), media_type="text/csv")
    page = rows[offset : offset + limit]
    following = offset + limit
    return AccuracyResponse(
        interval=0.9,
        groups=[_group(name, found) for name, found in summary(rows, _key(by)).items()],
        items=[
            AccuracyRow(**{n: getattr(row, n) for n in AccuracyRow.model_fields}) for row in page
        ],
        next=following if limit and following < len(rows) else None,
    )


def _rows(known: Snapshot, by: By, cluster: str | None) -> list[BacktestRow]:
    """The rows that the question is about. A posted run is one that no fit has seen."""
    runs = judged(known, cluster)
    if by == "cluster" or cluster is not None:
        return runs
    return [*backtest.recorded(), *(row for row in runs if row.set_aside)]


def _key(by: By) -> Callable[[BacktestRow], str]:
    if by == "source":
        return lambda row: f"{row.quantity}: {row.source}"
    return lambda row: str(getattr(row, by)) or "not stated"


def _group(name: str, found: Summary) -> AccuracyGroup:
    return AccuracyGroup(
        name=name,
        rows=found.rows,
        median_error=found.median,
        p90_error=found.p90,
        worst_error=found.worst,
        bias=found.bias,
        set_aside=found.set_aside,
        coverage=None if math.isnan(found.coverage) else found.coverage,
    )


def _as_csv(rows: Sequence[BacktestRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(AccuracyRow.model_fields)
    for row in rows:
        writer.writerow(getattr(row, name) for name in AccuracyRow.model_fields)
    return text.getvalue()
