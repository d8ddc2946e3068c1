"""Exception handlers: whatever goes wrong leaves as one problem document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.api import validation
from service.api.context import request_id
from service.api.problems import MEDIA_TYPE, FieldError, ProblemError, encoded
from service.catalog import errors as catalog

RETRY_SECONDS = "2"


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(catalog.CatalogError, _on_catalog)


def response(request: Request, problem: ProblemError) -> Response:
    """The problem as an answer to the request."""
    document = problem.document(request.url.path, request_id.get())
    return Response(
        encoded(document), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return response(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    findings = error.errors()
    first: dict[str, Any] = findings[0]
    if first["type"] == "json_invalid":
        reason = first["ctx"]["error"]
        detail = f"The body is not JSON: {reason} at character {first['loc'][-1]}."
        return response(request, ProblemError("malformed-json", detail))
    if isinstance(error.body, bytes) and error.body:
        media = request.headers.get("content-type", "none")[:100]
        detail = f"The body's media type is {media}; send application/json."
        return response(request, ProblemError("unsupported-media-type", detail))
    return response(request, validation.problem(findings, error.body))


_HTTP_KINDS = {
    404: ("not-found", "Nothing is served under this path; see /openapi.json."),
    405: ("method-not-allowed", "This path does not take this method; see the Allow header."),
    413: ("body-too-large", "The body is too large."),
}


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind, detail = _HTTP_KINDS.get(error.status_code, ("request-refused", str(error.detail)))
    if error.status_code == 400:
        kind, detail = "malformed-request", "The body cannot be read as JSON in UTF-8."
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return response(request, ProblemError(kind, detail, headers=headers, status=error.status_code))


def _methods(request: Request) -> list[str]:
    """The methods that the path takes: a router by itself names those of one route only."""
    documented = request.app.openapi()["paths"].get(request.scope["path"])
    if documented is not None:
        return [method.upper() for method in documented]
    routes = request.app.router.routes
    return [
        method
        for method in ("GET", "POST", "PUT", "DELETE")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]


async def _on_catalog(request: Request, error: Exception) -> Response:
    assert isinstance(error, catalog.CatalogError)
    return response(request, from_catalog(error))


def from_catalog(error: catalog.CatalogError) -> ProblemError:
    """What the catalog refused, as a problem."""
    text = str(error)
    if isinstance(error, catalog.StoreUnavailable):
        return ProblemError("catalog-unavailable", text, headers={"Retry-After": RETRY_SECONDS})
    if isinstance(error, catalog.VersionConflict):
        return ProblemError("version-conflict", text, headers={"ETag": f'"{error.current}"'})
    if isinstance(error, catalog.InvalidFact):
        found = [FieldError(item.message, item.pointer) for item in error.problems]
        return ProblemError("invalid-fact", text, found)
    if isinstance(error, catalog.UnknownName):
        found = [FieldError(text, parameter="name", suggestions=error.suggestions)]
        return ProblemError("not-found", text, found)
    if isinstance(error, catalog.BeforeTheCatalog):
        return ProblemError("outside-the-catalog", text, [FieldError(text, pointer="/as_of")])
    return ProblemError("not-found", text)
