"""What an import did or would do, row by row, and its refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from service.catalog.errors import CatalogError, FieldProblem


class Outcome(NamedTuple):
    """What one row does, or why it cannot. `line` is the CSV's line, or the item's number."""

    line: int
    name: str
    action: Literal["create", "update", "unchanged", "invalid"]
    problems: Sequence[FieldProblem] = ()


@dataclass(frozen=True)
class Report:
    """Row by row what an import did, or would do."""

    dry_run: bool
    outcomes: Sequence[Outcome]

    @property
    def invalid(self) -> Sequence[Outcome]:
        """The rows that cannot be written."""
        return [outcome for outcome in self.outcomes if outcome.action == "invalid"]

    def count(self, action: str) -> int:
        """How many rows have this action."""
        return sum(outcome.action == action for outcome in self.outcomes)


class ImportRefused(CatalogError):
    """An import with rows that cannot be written; nothing was."""

    def __init__(self, report: Report) -> None:
        first = report.invalid[0]
        reason = f"{first.problems[0].pointer} {first.problems[0].message}".strip()
        super().__init__(
            f"{len(report.invalid)} of {len(report.outcomes)} rows cannot be imported; "
            f"the first is line {first.line}: {reason}"
        )
        self.report = report
