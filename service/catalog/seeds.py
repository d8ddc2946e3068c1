"""The facts that the program ships, in the same files that an import takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from service.catalog.facts import Draft
from service.catalog.kinds import KINDS
from service.catalog.reports import ImportRefused, Outcome, Report
from service.catalog.snapshot import Snapshot
from service.catalog.texts import Form, parse

AUTHOR = "seed"
RECORDED_AT = "2026-11-01T00:00:00.000000Z"
"""When a new catalog is taken to have learnt these facts: one day for every installation, so
that the same `as_of` finds the same facts everywhere. In an older catalog they count as learnt
when the newer program first ran."""

_FOLDER = Path(__file__).parent / "seed"


def digest() -> str:
    """Names this set of facts."""
    sha = hashlib.sha256()
    for path, _, _ in _files():
        sha.update(path.read_bytes())
    return sha.hexdigest()


def drafts() -> Sequence[Draft]:
    """Every fact that is shipped, accelerators before the prices that name them."""
    found: list[Draft] = []
    for path, kind, form in _files():
        rows = list(parse(kind, path.read_text(encoding="utf-8"), form))
        wrong = [
            Outcome(row.line, row.name, "invalid", row.problems) for row in rows if row.problems
        ]
        if wrong:
            raise ImportRefused(Report(True, wrong))
        found.extend(row.draft for row in rows if row.draft)
    return found


def missing(current: Snapshot) -> Sequence[Draft]:
    """The drafts that the catalog lacks; none for a fact that somebody else wrote last."""
    return [
        item
        for item in drafts()
        if not current.version(item.kind, item.name)
        or ((row := current.shelves[item.kind].rows.get(item.name)) and row.recorded_by == AUTHOR)
    ]


def _files() -> Iterator[tuple[Path, str, Form]]:
    for kind in KINDS:
        for form in get_args(Form):
            path = _FOLDER / f"{kind}.{form}"
            if path.exists():
                yield path, kind, form
