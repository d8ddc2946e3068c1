"""The catalog over HTTP: pages, single facts with entity tags, and versioned writes.

Annotations are evaluated here (no `from __future__`): those of `_add` name its own parameters.
"""

import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel

from service.api import claims
from service.api.catalog_documents import (
    AcceleratorDocument,
    AcceleratorQuery,
    ClaimDocument,
    ClaimQuery,
    ModelDocument,
    ModelQuery,
    PageOf,
    PageQuery,
    PriceDocument,
    PriceQuery,
    RegionDocument,
    RegionQuery,
    ReportDocument,
    ReportQuery,
)
from service.api.keys import Writer
from service.api.problems import FieldError, ProblemError
from service.api.state import StoreHere, snapshot
from service.catalog.errors import VersionConflict
from service.catalog.facts import Fact
from service.catalog.kinds import ClaimFacts
from service.catalog.snapshot import Snapshot

IfNoneMatch = Annotated[str | None, Header(max_length=200)]
IfMatch = Annotated[str | None, Header(max_length=200)]
AsOf = Annotated[datetime.date | None, Query()]
DocumentT = TypeVar("DocumentT", bound=BaseModel)


def page(response: Response, found: Snapshot, kind: str, query: PageQuery, have: str | None) -> Any:
    """One page of a kind, or 304 where the caller has this state of the catalog."""
    tag = f'W/"{found.id}"'
    if have == tag:
        return Response(status_code=304, headers={"ETag": tag})
    try:
        some = found.page(kind, query.limit, query.cursor, query.q, query.filters())
    except ValueError as error:
        problem = FieldError(str(error), parameter="cursor")
        raise ProblemError("invalid-request", str(error), [problem]) from None
    response.headers["ETag"] = tag
    return {"items": [document(fact, found) for fact in some.items], "next": some.next}


def one(response: Response, found: Snapshot, kind: str, name: str, have: str | None) -> Any:
    """One fact with its entity tag, or 304 where the caller has it."""
    fact = found.get(kind, name)
    if have in (fact.etag, "*"):
        return Response(status_code=304, headers={"ETag": fact.etag})
    response.headers["ETag"] = fact.etag
    return document(fact, found)


def document(fact: Fact, found: Snapshot) -> dict[str, Any]:
    """A fact as callers see it; a claim with our verdict."""
    shown = fact.document()
    if isinstance(fact.payload, ClaimFacts):
        verdict, checks = claims.check(fact.payload.quantities, found)
        shown |= {"verdict": verdict, "checks": checks}
    return shown


def expected_version(if_match: str | None) -> int | None:
    """The version in an If-Match header; None for `*`."""
    text = (if_match or "").strip()
    if text == "*":
        return None
    digits = text.strip('"')
    if text != f'"{digits}"' or not digits.isdecimal() or len(digits) > 9:
        detail = 'If-Match must be the ETag of the fact, as "3", or *.'
        problem = FieldError(detail, parameter="If-Match")
        raise ProblemError("malformed-request", detail, [problem])
    return int(digits)


def put(
    store: StoreHere,
    response: Response,
    kind: str,
    name: str,
    document: BaseModel,
    if_match: str | None,
    by: str,
) -> Any:
    """Add a version of a fact. Without If-Match only a new fact is written."""
    ours = {"verdict", "checks"}
    content = document.model_dump(mode="json", exclude_unset=True, exclude=ours)
    return put_document(store, response, kind, name, content, if_match, by)


def put_document(
    store: StoreHere,
    response: Response,
    kind: str,
    name: str,
    content: dict[str, Any],
    if_match: str | None,
    by: str,
) -> Any:
    """Add a version of a fact, given as its document."""
    expected = 0 if if_match is None else expected_version(if_match)
    try:
        fact = store.put(kind, name, content, expected=expected, by=by)
    except VersionConflict as error:
        if if_match is None:
            raise _needs_if_match() from error
        raise
    response.status_code = 201 if if_match is None else 200
    response.headers["ETag"] = fact.etag
    return fact.document()


def delete(store: StoreHere, kind: str, name: str, if_match: str | None, by: str) -> Response:
    """Remove a fact from what stands; its history stays."""
    if if_match is None:
        raise _needs_if_match()
    store.delete(kind, name, expected=expected_version(if_match), by=by)
    return Response(status_code=204)


def _needs_if_match() -> ProblemError:
    detail = "The fact exists: send its ETag as If-Match, so that nobody's change is lost."
    problem = FieldError(detail, parameter="If-Match")
    return ProblemError("precondition-required", detail, [problem])


def router() -> APIRouter:
    """The routes of all kinds."""
    found = APIRouter(tags=["catalog"])
    _add(found, "models", "model", ModelDocument, ModelQuery)
    _add(found, "accelerators", "accelerator", AcceleratorDocument, AcceleratorQuery)
    _add(found, "regions", "region", RegionDocument, RegionQuery)
    _add(found, "prices", "price", PriceDocument, PriceQuery)
    _add(found, "claims", "claim", ClaimDocument, ClaimQuery)
    _add(found, "reports", "report", ReportDocument, ReportQuery)
    return found


def _add(
    found: APIRouter,
    kind: str,
    single: str,
    document_type: type[DocumentT],
    query_type: type[PageQuery],
) -> None:
    """The routes of one kind: list, read, write, remove."""
    path = f"/{kind}/{{name:path}}"
    _add_reading(found, path, kind, single, document_type, query_type)
    _add_writing(found, path, kind, single, document_type)


def _add_reading(
    found: APIRouter,
    path: str,
    kind: str,
    single: str,
    document_type: type[DocumentT],
    query_type: type[PageQuery],
) -> None:
    @found.get(
        f"/{kind}",
        name=f"list_{kind}",
        summary=f"List {kind}",
        response_model=PageOf[document_type],  # type: ignore[valid-type]
        responses=_UNCHANGED,
    )
    async def list_facts(
        request: Request,
        response: Response,
        query: Annotated[query_type, Query()],  # type: ignore[valid-type]
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        when = query.as_of  # type: ignore[attr-defined]
        return page(response, snapshot(request, when), kind, query, if_none_match)

    @found.get(
        path,
        name=f"get_{single}",
        summary=f"Read one of the {kind}",
        response_model=document_type,
        responses=_UNCHANGED,
    )
    async def get_fact(
        request: Request,
        response: Response,
        name: str,
        as_of: AsOf = None,
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        return one(response, snapshot(request, as_of), kind, name, if_none_match)


def _add_writing(
    found: APIRouter, path: str, kind: str, single: str, document_type: type[DocumentT]
) -> None:
    @found.put(
        path,
        name=f"put_{single}",
        summary=f"Add a version of one of the {kind}",
        response_model=document_type,
        responses={201: {"description": "Created", "model": document_type}},
    )
    def put_fact(
        store: StoreHere,
        response: Response,
        name: str,
        document: document_type,  # type: ignore[valid-type]
        by: Writer,
        if_match: IfMatch = None,
    ) -> Any:
        return put(store, response, kind, name, document, if_match, by)

    @found.delete(
        path,
        name=f"delete_{single}",
        summary=f"Remove one of the {kind}",
        status_code=204,
        response_class=Response,
    )
    def delete_fact(store: StoreHere, name: str, by: Writer, if_match: IfMatch = None) -> Response:
        return delete(store, kind, name, if_match, by)


_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Not modified"}}
