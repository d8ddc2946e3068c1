"""Finished jobs: posted once each, read in pages, corrected by version."""

import datetime
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.calibrating import predicted
from service.api.keys import Writer
from service.api.problems import FieldError, ProblemError
from service.api.requests import EstimateRequest
from service.api.routes.catalog import IfMatch, IfNoneMatch, delete, one, page, put_document
from service.api.run_models import RunDocument, RunPage, RunQuery, RunSubmission, RunUpdate
from service.api.state import StoreHere, snapshot
from service.catalog.drafts import draft
from service.catalog.errors import VersionConflict
from service.catalog.facts import Fact
from service.catalog.kinds import RunFacts
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store

router = APIRouter(tags=["runs"])
KIND = "runs"
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Not modified"}}
_CREATED: dict[int | str, dict[str, Any]] = {201: {"description": "Created", "model": RunDocument}}
AsOf = Annotated[datetime.date | None, Query()]


@router.post(
    "/runs",
    name="post_run",
    summary="Record a finished job",
    response_model=RunDocument,
    responses=_CREATED,
)
def post_run(store: StoreHere, response: Response, body: RunSubmission, by: Writer) -> Any:
    """201 for a new id, 200 for the same run again, 409 where the id stands for another run."""
    check(body.request, store.snapshot)
    fact, new = recorded(store, body, by)
    response.status_code = 201 if new else 200
    response.headers["ETag"] = fact.etag
    return fact.document()


def recorded(store: Store, body: RunSubmission, by: str) -> tuple[Fact, bool]:
    """The run as it stands, and whether it is new. Raises ProblemError where another one is."""
    content = body.document()
    try:
        return store.put(KIND, body.id, content, expected=0, by=by), True
    except VersionConflict:
        fact = store.refresh().get(KIND, body.id)
    if not _same(fact, draft(KIND, body.id, content).payload):
        detail = f"run {body.id} is recorded with other content; choose another id, or PUT it"
        raise ProblemError("conflict", detail, [FieldError(detail, "/id")])
    return fact, False


def check(asked: EstimateRequest, current: Snapshot) -> None:
    """Refuse a run whose request cannot be answered, since nothing could be learnt from it."""
    try:
        predicted(asked, current)
    except ProblemError as problem:
        inside = [
            replace(error, pointer=f"/request{error.pointer}")
            for error in problem.errors
            if error.pointer is not None
        ]
        raise ProblemError(problem.kind, problem.detail, inside) from None


def _same(fact: Fact, posted: Any) -> bool:
    """Whether two runs say the same, however their requests are written."""
    standing = fact.payload
    assert isinstance(standing, RunFacts)
    if standing.model_copy(update={"request": posted.request}) != posted:
        return False
    asked, recorded = (EstimateRequest.model_validate(r.request) for r in (posted, standing))
    return asked == recorded


@router.get(
    "/runs",
    name="list_runs",
    summary="List runs",
    response_model=RunPage,
    responses=_UNCHANGED,
)
async def list_runs(
    request: Request,
    response: Response,
    query: Annotated[RunQuery, Query()],
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Pages in the order of ids."""
    return page(response, snapshot(request, query.as_of), KIND, query, if_none_match)


@router.get(
    "/runs/{name:path}",
    name="get_run",
    summary="Read one of the runs",
    response_model=RunDocument,
    responses=_UNCHANGED,
)
async def get_run(
    request: Request,
    response: Response,
    name: str,
    as_of: AsOf = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A run with its entity tag."""
    return one(response, snapshot(request, as_of), KIND, name, if_none_match)


@router.put(
    "/runs/{name:path}",
    name="put_run",
    summary="Add a version of one of the runs",
    response_model=RunDocument,
    responses=_CREATED,
)
def put_run(
    store: StoreHere,
    response: Response,
    name: str,
    body: RunUpdate,
    by: Writer,
    if_match: IfMatch = None,
) -> Any:
    """A corrected run; answers of earlier days keep the version that stood then."""
    check(body.request, store.snapshot)
    return put_document(store, response, KIND, name, body.document(), if_match, by)


@router.delete(
    "/runs/{name:path}",
    name="delete_run",
    summary="Remove one of the runs",
    status_code=204,
    response_class=Response,
)
def delete_run(store: StoreHere, name: str, by: Writer, if_match: IfMatch = None) -> Response:
    """The run no longer counts; its history stays."""
    return delete(store, KIND, name, if_match, by)
