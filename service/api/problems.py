"""Errors as RFC 9457 problem documents: one shape, a stable `type` for each kind.

A route or the resolver raises `ProblemError`; the framework's own errors and the catalog's are
turned into one by the handlers (`handlers.py`). `errors[]` points into the request: with a JSON
pointer (RFC 6901) into the body, or with the name of a query, path or header parameter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from service.api.bounded import ApiModel

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """What all problems of one `type` have in common."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "malformed-json": Kind(400, "The body is not JSON"),
    "malformed-request": Kind(400, "The request cannot be read"),
    "nested-too-deeply": Kind(400, "The body is nested too deeply"),
    "too-many-values": Kind(413, "The body holds too many values"),
    "unauthenticated": Kind(401, "A key is needed"),
    "forbidden": Kind(403, "The key's role does not allow this"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "This method is not served here"),
    "not-acceptable": Kind(406, "No such representation"),
    "body-too-slow": Kind(408, "The body took too long to arrive"),
    "conflict": Kind(409, "The request conflicts with what stands"),
    "version-conflict": Kind(412, "Somebody else wrote first"),
    "body-too-large": Kind(413, "The body is too large"),
    "unsupported-media-type": Kind(415, "The body's media type is not read here"),
    "invalid-request": Kind(422, "The request has fields to correct"),
    "unknown-model": Kind(422, "The catalog holds no such model"),
    "unknown-accelerator": Kind(422, "The catalog holds no such accelerator"),
    "unknown-region": Kind(422, "The catalog holds no such region"),
    "unknown-price": Kind(422, "The catalog holds no such price"),
    "unknown-architecture": Kind(422, "No family knows this architecture"),
    "invalid-model": Kind(422, "The model's description cannot be read"),
    "impossible-layout": Kind(422, "The layout cannot be realised"),
    "invalid-fact": Kind(422, "The document cannot be a fact of the catalog"),
    "outside-the-catalog": Kind(422, "The catalog cannot answer for that day"),
    "too-much-work": Kind(422, "The request asks for more work than one request may"),
    "precondition-required": Kind(428, "If-Match is needed"),
    "request-refused": Kind(400, "The request is refused"),
    "internal-error": Kind(500, "The service failed"),
    "overloaded": Kind(503, "More is asked than the service can do"),
    "catalog-unavailable": Kind(503, "The catalog's database cannot serve"),
}
"""Every kind of problem by the last part of its `type`, `/problems/<kind>`."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with the request, and what to change."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    suggestions: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """The entry of `errors`."""
        entry: dict[str, Any] = {"detail": self.detail}
        if self.pointer is not None:
            entry["pointer"] = self.pointer
        if self.parameter is not None:
            entry["parameter"] = self.parameter
        if self.suggestions:
            entry["suggestions"] = list(self.suggestions)
        return entry


class ProblemError(Exception):
    """A request that gets a problem document instead of an answer."""

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.status = status or KINDS[kind].status

    def document(
        self, instance: str | None = None, request_id: str | None = None
    ) -> dict[str, Any]:
        """The members of the problem document."""
        members: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            members["instance"] = instance
        if request_id is not None:
            members["request_id"] = request_id
        if self.errors:
            members["errors"] = [error.document() for error in self.errors]
        return members


def at(kind: str, pointer: str, detail: str, suggestions: Sequence[str] = ()) -> ProblemError:
    """A problem with one field of the body. The detail is one sentence."""
    return ProblemError(kind, detail, (FieldError(detail, pointer, suggestions=suggestions),))


def within(prefix: str) -> AbstractContextManager[None]:
    """Problems that are raised inside point into the part of the body that `prefix` names."""
    return relocated(lambda pointer: prefix + pointer)


@contextmanager
def relocated(where: Callable[[str], str]) -> Iterator[None]:
    """Problems that are raised inside point to where the body has what they point to."""
    try:
        yield
    except ProblemError as problem:
        errors = [
            error if error.pointer is None else replace(error, pointer=where(error.pointer))
            for error in problem.errors
        ]
        kind, status = problem.kind, problem.status
        raise ProblemError(kind, problem.detail, errors, problem.headers, status) from None


def encoded(document: Mapping[str, Any]) -> bytes:
    """The document as bytes; ASCII, so that no string of a caller can break the encoding."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


class ProblemItem(ApiModel):
    """One thing wrong with the request."""

    detail: str = Field(description="What to change.")
    pointer: str | None = Field(None, description="JSON pointer (RFC 6901) into the body.")
    parameter: str | None = Field(None, description="Name of a query, path or header parameter.")
    suggestions: list[str] | None = Field(None, description="Names that may have been meant.")


class Problem(ApiModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/unknown-accelerator",
                    "title": KINDS["unknown-accelerator"].title,
                    "status": 422,
                    "detail": "accelerators holds no 'h100-sxn'; did you mean h100-sxm?",
                    "instance": "/estimate",
                    "request_id": "0d9d5c38d1b04f0d8a7a3c4b1f0e2d6c",
                    "errors": [
                        {
                            "detail": "accelerators holds no 'h100-sxn'; did you mean h100-sxm?",
                            "pointer": "/hardware/accelerator",
                            "suggestions": ["h100-sxm"],
                        }
                    ],
                }
            ]
        }
    )

    type: str = Field(description="Stable name of the kind of problem: /problems/<kind>.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to change.")
    instance: str | None = Field(None, description="The path that was asked.")
    request_id: str | None = Field(None, description="The X-Request-ID of the answer.")
    errors: list[ProblemItem] | None = Field(None, description="The fields to change.")
