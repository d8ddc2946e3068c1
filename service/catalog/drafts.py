"""From a document (JSON, or a line of CSV) to a valid draft of a fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from service.catalog.errors import FieldProblem, InvalidFact
from service.catalog.facts import NAME, Draft, Payload, Provenance
from service.catalog.kinds import payload_type

Model = TypeVar("Model", Payload, Provenance)

STAMPS = ("version", "recorded_at")
"""Set by the catalog; ignored in what is sent, so that a fact that was read can be sent back."""


def draft(kind: str, name: str, document: Mapping[str, Any]) -> Draft:
    """The draft that a document describes: the payload's fields, `name`, and `provenance`.

    Raises InvalidFact, which names every field that is wrong, and UnknownKind.
    """
    model = payload_type(kind)
    content = {key: value for key, value in document.items() if key not in ("name", "provenance")}
    stated = document.get("provenance")
    stated = (
        {key: value for key, value in stated.items() if key not in STAMPS}
        if isinstance(stated, Mapping)
        else stated
    )
    problems = _name_problems(name, document.get("name", name))
    payload = _validated(model, content, "", problems)
    provenance = _validated(Provenance, {} if stated is None else stated, "/provenance", problems)
    if payload is not None and not problems:
        try:
            payload.text().encode()
        except (ValueError, RecursionError):
            problems.append(
                FieldProblem("", "holds a number or a character that JSON cannot carry")
            )
    if problems or payload is None or provenance is None:
        raise InvalidFact(kind, name, problems)
    return Draft(kind, name, payload, provenance)


def removal(kind: str, name: str, reason: str) -> Draft:
    """The draft of a tombstone."""
    payload_type(kind)
    note = reason or "removed"
    return Draft(kind, name, None, Provenance(source="removal", licence="none", note=note))


def _name_problems(name: str, stated: Any) -> list[FieldProblem]:
    if stated != name:
        return [FieldProblem("/name", f"must be {name[:200]!r}, the name that is written to")]
    if len(name) > 200 or not NAME.fullmatch(name):
        message = "must be lower-case letters, digits and . _ + -, with / between parts"
        return [FieldProblem("/name", message)]
    return []


def _validated(
    model: type[Model], content: Any, prefix: str, problems: list[FieldProblem]
) -> Model | None:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        for entry in error.errors(include_url=False, include_input=False, include_context=False):
            pointer = prefix + "".join(f"/{_escaped(part)}" for part in entry["loc"])
            problems.append(FieldProblem(pointer, entry["msg"].removeprefix("Value error, ")))
        return None


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
