"""One row of the back-test: what was measured, what is predicted, and the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import NamedTuple


@dataclass(frozen=True)
class BacktestRow:
    """A measured or published figure beside the estimate of it, both in the quantity's unit."""

    source: str
    """The measured set, by a short name."""
    quantity: str
    """`peak_bytes`, `step_seconds`, `energy_kwh` ..."""
    case: str
    observed: float
    value: float
    low: float
    high: float
    set_aside: bool
    """True where the row was not used while fitting."""
    family: str = ""
    accelerator: str = ""
    cluster: str = ""
    """Whose runs it is of; empty for rows of the back-test."""

    @property
    def error(self) -> float:
        """The signed relative error: `value / observed - 1`."""
        return self.value / self.observed - 1.0

    @property
    def inside(self) -> bool:
        """Whether the interval holds the observation."""
        return self.low <= self.observed <= self.high


class Summary(NamedTuple):
    """How well a group of rows was predicted; errors are relative."""

    rows: int
    median: float
    """Of the absolute error."""
    p90: float
    worst: float
    bias: float
    """Median of the signed error."""
    set_aside: int
    coverage: float
    """Share of the rows set aside that the 90 % interval holds; NaN where none was."""


def summary(
    found: Sequence[BacktestRow], key: Callable[[BacktestRow], str] = lambda row: row.source
) -> dict[str, Summary]:
    """Error and coverage of each group, in the order in which groups first appear."""
    groups: dict[str, list[BacktestRow]] = {}
    for row in found:
        groups.setdefault(key(row), []).append(row)
    return {name: _summarised(group) for name, group in groups.items()}


def _summarised(group: Sequence[BacktestRow]) -> Summary:
    errors = sorted(abs(row.error) for row in group)
    aside = [row for row in group if row.set_aside]
    return Summary(
        rows=len(group),
        median=median(errors),
        p90=quantiles(errors, n=10, method="inclusive")[8] if len(errors) > 1 else errors[0],
        worst=errors[-1],
        bias=median(row.error for row in group),
        set_aside=len(aside),
        coverage=fmean(row.inside for row in aside) if aside else float("nan"),
    )


def table(summaries: dict[str, Summary]) -> str:
    """The summaries as lines of text, percentages rounded."""
    head = f"{'source':<44}{'rows':>6}{'median':>9}{'p90':>9}{'worst':>9}{'aside':>7}{'inside':>8}"
    lines = [
        f"{name[:43]:<44}{s.rows:>6}{s.median:>9.1%}{s.p90:>9.1%}{s.worst:>9.1%}"
        f"{s.set_aside:>7}{s.coverage:>8.0%}"
        for name, s in summaries.items()
    ]
    return "\n".join([head, *lines])
