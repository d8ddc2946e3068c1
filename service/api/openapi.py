"""The OpenAPI document: FastAPI's, with every error as a typed problem document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.problems import MEDIA_TYPE, Problem

_SCHEMA = "#/components/schemas/"
_PROBLEMS = {
    "4XX": "The request has something to correct",
    "5XX": "The service cannot answer at the moment",
}


def install(app: FastAPI) -> None:
    """Let the application describe itself with `describe`."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(_problem_schemas())
    for operations in document["paths"].values():
        for operation in operations.values():
            _add_problems(operation)
    return document


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=_SCHEMA + "{model}")
    parts: dict[str, Any] = schema.pop("$defs")
    return {"Problem": schema, **parts}


def _add_problems(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for status, description in _PROBLEMS.items():
        content = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA + "Problem"}}}
        responses[status] = {"description": description, "content": content}
