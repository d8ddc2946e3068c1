"""One row of the back-test: what was measured, what is predicted, and the interval."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def error(self) -> float:
        """The signed relative error: `value / observed - 1`."""
        return self.value / self.observed - 1.0

    @property
    def inside(self) -> bool:
        """Whether the interval holds the observation."""
        return self.low <= self.observed <= self.high
