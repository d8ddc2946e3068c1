"""What an answer rests on: assumptions with their origin, and coded warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from service.api.responses import Assumption, Warned

Origin = Literal["request", "catalog", "default", "calibration", "search"]


@dataclass
class Ledger:
    """Collects assumptions and warnings in the order in which they are made."""

    assumptions: list[Assumption] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    runs: str = ""
    """Identifies the recorded runs of a cluster that correct the answer."""

    def assume(self, name: str, value: Any, origin: Origin, source: str | None = None) -> None:
        """Record a value. `name` is the field of the request that would change it."""
        self.assumptions.append(Assumption(field=name, value=value, origin=origin, source=source))

    def choose(self, name: str, given: Any, default: Any, source: str) -> Any:
        """The given value or, recorded as such, the default."""
        if given is not None:
            return given
        self.assume(name, default, "default", source)
        return default

    def warn(self, code: str, message: str, *sections: str) -> None:
        """Record a warning once. `sections`: those that are null for this reason."""
        warning = Warned(code=code, message=message, sections=list(sections))
        if warning not in self.warnings:
            self.warnings.append(warning)
