"""Facts in bulk: a text written as one revision, or a dry run that tells what each row would do."""

from __future__ import annotations

from collections.abc import Sequence

from service.catalog import rules
from service.catalog.errors import FieldProblem
from service.catalog.facts import Draft
from service.catalog.reports import ImportRefused, Outcome, Report
from service.catalog.snapshot import Snapshot
from service.catalog.store import Progress, Store
from service.catalog.texts import Form, Parsed, Unreadable, parse


def import_text(
    store: Store,
    kind: str,
    text: str,
    form: Form = "csv",
    *,
    dry_run: bool = False,
    by: str = "",
    progress: Progress | None = None,
) -> Report:
    """Write every row of the text as one revision, or, with `dry_run`, nothing.

    Raises ImportRefused where any row is invalid, StoreUnavailable, UnknownKind.
    """
    rows = list(parse(kind, text, form))
    if dry_run:
        judged = Report(True, _outcomes(store.snapshot, rows))
        if any(isinstance(p, Unreadable) for outcome in judged.invalid for p in outcome.problems):
            raise ImportRefused(judged)
        return judged
    report = Report(False, ())

    def plan(current: Snapshot) -> Sequence[Draft]:
        nonlocal report
        report = Report(False, _outcomes(current, rows))
        if report.invalid:
            raise ImportRefused(report)
        return [row.draft for row in rows if row.draft]

    store.write(plan, by=by, progress=progress)
    return report


def _outcomes(current: Snapshot, rows: Sequence[Parsed]) -> Sequence[Outcome]:
    seen: dict[str, int] = {}
    return [_outcome(current, row, seen) for row in rows]


def _outcome(current: Snapshot, row: Parsed, seen: dict[str, int]) -> Outcome:
    if row.draft is None:
        return Outcome(row.line, row.name, "invalid", row.problems)
    first = seen.setdefault(row.name, row.line)
    if first != row.line:
        problem = FieldProblem("/name", f"repeats the name of line {first}")
        return Outcome(row.line, row.name, "invalid", [problem])
    if problems := rules.against(current, row.draft):
        return Outcome(row.line, row.name, "invalid", problems)
    standing = current.shelves[row.draft.kind].rows.get(row.name)
    if standing is None:
        return Outcome(row.line, row.name, "create")
    same = standing.holds(row.draft.columns())
    return Outcome(row.line, row.name, "unchanged" if same else "update")
