"""From pydantic's findings to sentences that say what to change, with pointers into the body."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.api.bounded import SHAPES, ApiModel
from service.api.problems import FieldError, ProblemError
from service.api.request_bodies import RequestBody

SHOWN = 20
"""At most so many findings are shown."""
_SECTIONS = ("body", "query", "path", "header", "cookie")


def problem(findings: Sequence[Any], body: Any) -> ProblemError:
    """The problem for what pydantic found wrong with a request."""
    errors = tuple(field_error(finding, body) for finding in findings[:SHOWN])
    first = errors[0]
    where = first.pointer if first.parameter is None else first.parameter
    more = f" ({len(findings) - 1} more to correct)" if len(findings) > 1 else ""
    return ProblemError("invalid-request", f"{where or 'the body'} {first.detail}{more}", errors)


def field_error(finding: Mapping[str, Any], body: Any) -> FieldError:
    """One finding; `loc` may or may not begin with the section of the request."""
    loc = tuple(finding["loc"])
    section = loc[0] if loc and loc[0] in _SECTIONS else "body"
    if loc and loc[0] == section:
        loc = loc[1:]
    detail, suggestions = sentence(finding, loc)
    if section != "body":
        name = ".".join(str(part) for part in loc)
        return FieldError(detail, parameter=name, suggestions=suggestions)
    path = located(loc, body, finding["type"] == "missing")
    if finding["type"].startswith("union_tag"):
        path = [*path, str(finding["ctx"]["discriminator"]).strip("'")]
    return FieldError(detail, pointer=pointer(path), suggestions=suggestions)


def located(loc: Sequence[Any], body: Any, missing: bool = False) -> list[Any]:
    """The path of a finding in the body: pydantic's location without the names of union branches.

    `missing`: the last part is a field that the body lacks.
    """
    path: list[Any] = []
    current = body
    for number, part in enumerate(loc):
        try:
            current = current[part]
        except (KeyError, IndexError, TypeError):
            if not (missing and number == len(loc) - 1):
                continue
        path.append(part)
    return path


def pointer(path: Iterable[Any]) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


_SENTENCES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is required",
    "date_from_datetime_parsing": "must be a date such as 2026-03-01",
    "date_parsing": "must be a date such as 2026-03-01",
    "date_type": "must be a date such as 2026-03-01",
}


def sentence(finding: Mapping[str, Any], loc: Sequence[Any]) -> tuple[str, tuple[str, ...]]:
    """What to change, and names that may have been meant."""
    kind, context = finding["type"], finding.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_field(loc)
    if kind in ("literal_error", "union_tag_invalid"):
        return _unknown_choice(kind, finding, context)
    template = SHAPES.get(context.get("pattern", "")) or _SENTENCES.get(kind)
    if template is None:
        return str(finding["msg"]).removeprefix("Value error, "), ()
    quoted = kind in ("int_type", "float_type") and isinstance(finding.get("input"), str)
    return template.format(**context) + (", without quotes or a unit" if quoted else ""), ()


def _unknown_field(loc: Sequence[Any]) -> tuple[str, tuple[str, ...]]:
    """The names that the object at this place takes; those of every model where none is known."""
    name = str(loc[-1]) if loc else ""
    taken = _fields_under()
    here = next((taken[part] for part in reversed(loc[:-1]) if part in taken), None)
    near = difflib.get_close_matches(name[:60], here or _field_names() - {name}, 3, cutoff=0.7)
    if near:
        return f"is not a field here; did you mean {' or '.join(near)}?", tuple(near)
    if here:
        return f"is not a field here; the fields are {', '.join(here)}", ()
    return "is not a field here; leave it out", ()


def _unknown_choice(
    kind: str, finding: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    expected = str(context["expected" if kind == "literal_error" else "expected_tags"])
    choices = [part.strip(" '") for part in expected.replace(" or ", ", ").split(", ")]
    given = context.get("tag", finding.get("input"))
    near: list[str] = []
    if isinstance(given, str):
        near = difflib.get_close_matches(given[:60].lower(), choices, 1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"must be one of {', '.join(choices)}{hint}", tuple(near)


@cache
def _field_names() -> frozenset[str]:
    """Every field of every API model."""
    return frozenset(name for model in _subclasses(ApiModel) for name in _named(model))


@cache
def _fields_under() -> Mapping[Any, tuple[str, ...]]:
    """The fields of what stands under each field of a request: of a union, those of each kind."""
    found: dict[Any, dict[str, None]] = {}
    waiting, seen = _subclasses(RequestBody), set[type[BaseModel]]()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in _named(model).items():
            for below in _models_in((field.annotation, *field.metadata)):
                found.setdefault(name, {}).update(dict.fromkeys(_named(below)))
                waiting.append(below)
    return {name: tuple(sorted(fields)) for name, fields in found.items()}


def _named(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _subclasses(base: type[BaseModel]) -> list[type[BaseModel]]:
    below = [model for child in base.__subclasses__() for model in _subclasses(child)]
    return [base, *below]


def _models_in(annotations: Iterable[Any]) -> Iterator[type[BaseModel]]:
    """The models that annotations name, through unions, lists and options."""
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        yield from _models_in(get_args(annotation))
