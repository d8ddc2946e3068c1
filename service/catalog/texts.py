"""Facts as text: CSV and JSON, in and out.

A CSV has a header: `name`, the payload's fields, and the provenance's (`source`, `source_date`,
`licence`, `note`, `valid_from`). An empty cell is an absent field; fields that are lists or
objects are JSON in their cell. JSON is a list of documents, or an object with `items`. What was
exported imports without a change.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from service.catalog.drafts import STAMPS, draft
from service.catalog.errors import FieldProblem, InvalidFact
from service.catalog.facts import Draft, Fact, Provenance
from service.catalog.kinds import payload_type
from service.catalog.snapshot import Snapshot

Form = Literal["csv", "json"]
PROVENANCE = tuple(Provenance.model_fields)
_SCALARS = {"string", "number", "integer", "boolean", "null"}

csv.field_size_limit(2_000_000)


class Parsed(NamedTuple):
    """One row as read: a draft, or the problems that keep it from being one."""

    line: int
    name: str
    draft: Draft | None
    problems: Sequence[FieldProblem] = ()


def export_text(snapshot: Snapshot, kind: str, form: Form = "csv") -> Iterator[str]:
    """The facts of a kind that stand, piece by piece."""
    facts = snapshot.facts(kind)
    return _export_csv(kind, facts) if form == "csv" else _export_json(facts)


def parse(kind: str, text: str, form: Form = "csv") -> Iterator[Parsed]:
    """The rows of a text. A text that is no CSV or JSON at all is one invalid row."""
    payload_type(kind)
    read = _documents_of_csv if form == "csv" else _documents_of_json
    for line, found in read(kind, text):
        name = str(found.get("name", "")) if isinstance(found, Mapping) else ""
        if isinstance(found, FieldProblem):
            yield Parsed(line, name, None, [found])
            continue
        try:
            yield Parsed(line, name, draft(kind, name, found))
        except InvalidFact as error:
            yield Parsed(line, name, None, error.problems)


class Unreadable(FieldProblem):
    """Of the whole text: no row could be judged, so that a dry run refuses it too."""


def _documents_of_json(_: str, text: str) -> Iterator[tuple[int, Mapping[str, Any] | FieldProblem]]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield getattr(error, "lineno", 1), Unreadable("", f"is not JSON: {error}")
        return
    items = read.get("items") if isinstance(read, Mapping) else read
    if not isinstance(items, list):
        yield 1, Unreadable("", "must be a list of documents, or an object with `items`")
        return
    for number, item in enumerate(items, 1):
        found = item if isinstance(item, Mapping) else FieldProblem("", "must be an object")
        yield number, found


def _documents_of_csv(
    kind: str, text: str
) -> Iterator[tuple[int, Mapping[str, Any] | FieldProblem]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    line = reader.line_num + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, FieldProblem("", f"is not CSV: {error}")
            return
        if cells:
            yield line, _document(kind, header, cells)
        line = reader.line_num + 1


def _document(
    kind: str, header: Sequence[str], cells: Sequence[str]
) -> Mapping[str, Any] | FieldProblem:
    if len(cells) != len(header):
        return FieldProblem("", f"has {len(cells)} cells, the header {len(header)}")
    document: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    for column, cell in zip(header, cells, strict=True):
        if column in STAMPS or not cell:
            continue
        if column in PROVENANCE:
            provenance[column] = cell
            continue
        try:
            document[column] = json.loads(cell) if column in _json_columns(kind) else cell
        except ValueError:
            return FieldProblem(f"/{column}", "must be JSON")
    return document | {"provenance": provenance}


@cache
def _json_columns(kind: str) -> frozenset[str]:
    """The fields of a kind's payload that are lists or objects."""
    properties = payload_type(kind).model_json_schema()["properties"]
    scalar = {
        name
        for name, schema in properties.items()
        if {part.get("type") for part in schema.get("anyOf", [schema])} <= _SCALARS
    }
    return frozenset(properties.keys() - scalar)


def _export_csv(kind: str, facts: Iterator[Fact]) -> Iterator[str]:
    fields = list(payload_type(kind).model_fields)
    yield _line(["name", *fields, *PROVENANCE, *STAMPS])
    for fact in facts:
        document = fact.document()
        provenance = document["provenance"]
        payload = [_cell(kind, field, document.get(field)) for field in fields]
        stamps = [provenance.get(key, "") for key in (*PROVENANCE, *STAMPS)]
        yield _line([fact.name, *payload, *stamps])


def _cell(kind: str, field: str, value: Any) -> str:
    if value is None:
        return ""
    if field in _json_columns(kind):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line(cells: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _export_json(facts: Iterator[Fact]) -> Iterator[str]:
    separator = '{"items": [\n'
    for fact in facts:
        yield separator + json.dumps(fact.document(), ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n" if separator == ",\n" else '{"items": []}\n'
