"""Facts in bulk: export as CSV or JSON, import with a dry run that reports row by row."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from service.api.bounded import ApiModel
from service.api.catalog_documents import CatalogKind
from service.api.keys import Writer
from service.api.problems import FieldError, ProblemError
from service.api.state import StoreHere, snapshot
from service.catalog.reports import ImportRefused, Outcome, Report
from service.catalog.texts import Form, export_text
from service.catalog.transfer import import_text

router = APIRouter(tags=["catalog"])
SHOWN = 1_000
MEDIA: dict[Form, str] = {"csv": "text/csv", "json": "application/json"}


class ImportedRow(ApiModel):
    """What one row does, or would do."""

    line: int
    name: str
    action: Literal["create", "update", "unchanged", "invalid"]
    problems: list[str] = Field(default_factory=list)


class ImportResponse(ApiModel):
    """What an import did, or with `dry_run` would do."""

    dry_run: bool
    created: int
    updated: int
    unchanged: int
    invalid: int
    rows: list[ImportedRow] = Field(description="Invalid rows first; at most 1,000 are listed.")


_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        }
    }
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "array", "items": {}}},
        },
    }
}
"""CSV is taken too; it stands in the description, since client generators know no such body."""


@router.get(
    "/export/{kind}",
    name="export_facts",
    summary="Every fact of a kind",
    response_class=Response,
    responses=_TEXT,
)
async def export_facts(
    request: Request, kind: CatalogKind, form: Annotated[Form, Query(alias="format")] = "csv"
) -> Response:
    """All facts of a kind that stand, as CSV or JSON; what is exported imports unchanged."""
    return StreamingResponse(export_text(snapshot(request), kind, form), media_type=MEDIA[form])


@router.post(
    "/import/{kind}",
    name="import_facts",
    summary="Many facts at once",
    openapi_extra=_BODY,
)
async def import_facts(
    request: Request, store: StoreHere, kind: CatalogKind, by: Writer, dry_run: bool = False
) -> ImportResponse:
    """All rows or none, as JSON, or as `text/csv` with a header.

    With `dry_run` nothing is written and every row is judged.
    """
    form = _form(request)
    try:
        text = (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProblemError("malformed-request", "The body is not UTF-8.") from None
    try:
        report = await asyncio.to_thread(
            import_text, store, kind, text, form, dry_run=dry_run, by=by
        )
    except ImportRefused as refused:
        raise _refusal(refused) from None
    return _shown(report)


def _form(request: Request) -> Form:
    media = request.headers.get("content-type", "none").partition(";")[0].strip().lower()
    for form, known in MEDIA.items():
        if media == known:
            return form
    detail = f"The body's media type is {media[:100]}; send text/csv or application/json."
    raise ProblemError("unsupported-media-type", detail)


def _refusal(refused: ImportRefused) -> ProblemError:
    errors = [
        FieldError(f"line {outcome.line}: {problem.message}", problem.pointer)
        for outcome in refused.report.invalid[:20]
        for problem in outcome.problems[:3]
    ]
    return ProblemError("invalid-fact", str(refused), errors)


def _shown(report: Report) -> ImportResponse:
    ordered = sorted(report.outcomes, key=lambda outcome: outcome.action != "invalid")
    return ImportResponse(
        dry_run=report.dry_run,
        created=report.count("create"),
        updated=report.count("update"),
        unchanged=report.count("unchanged"),
        invalid=report.count("invalid"),
        rows=[_row(outcome) for outcome in ordered[:SHOWN]],
    )


def _row(outcome: Outcome) -> ImportedRow:
    problems = [f"{problem.pointer} {problem.message}".strip() for problem in outcome.problems]
    return ImportedRow(
        line=outcome.line, name=outcome.name[:200], action=outcome.action, problems=problems
    )
