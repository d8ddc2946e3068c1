"""What an answer rests on: assumptions with their origin, and coded warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from service.api.responses import Assumption, Warned

Origin = Literal["request", "catalog", "default", "calibration", "search"]


class Entries(NamedTuple):
    """What a ledger holds, fit to be kept."""

    assumptions: tuple[Assumption, ...]
    warnings: tuple[Warned, ...]


@dataclass
class Ledger:
    """Collects assumptions and warnings in the order in which they are made."""

    assumptions: list[Assumption] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    runs: str = ""
    """Identifies the recorded runs of a cluster that correct the answer."""

    def assume(self, name: str, value: Any, origin: Origin, source: str | None = None) -> None:
        """Record a value. `name` is the field of the request that would change it."""
        made = _remembered if isinstance(value, _NAMES) else _assumption
        self.assumptions.append(made(name, value, origin, source))

    def choose(self, name: str, given: Any, default: Any, source: str) -> Any:
        """The given value or, recorded as such, the default."""
        if given is not None:
            return given
        self.assume(name, default, "default", source)
        return default

    def warn(self, code: str, message: str, *sections: str) -> None:
        """Record a warning once. `sections`: those that are null for this reason."""
        self._add(Warned(code=code, message=message, sections=list(sections)))

    def entries(self) -> Entries:
        """All that was recorded."""
        return Entries(tuple(self.assumptions), tuple(self.warnings))

    def copy(self, entries: Entries) -> None:
        """Record what another ledger holds."""
        self.assumptions += entries.assumptions
        for warning in entries.warnings:
            self._add(warning)

    def copy_below(self, prefix: str, entries: Entries) -> None:
        """Record what was told of a request that this body holds at `prefix`."""
        named = [a.model_copy(update={"field": prefix + a.field}) for a in entries.assumptions]
        self.copy(entries._replace(assumptions=tuple(named)))

    def _add(self, warning: Warned) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def _assumption(name: str, value: Any, origin: Origin, source: str | None) -> Assumption:
    return Assumption(field=name, value=value, origin=origin, source=source)


_remembered = lru_cache(maxsize=1024, typed=True)(_assumption)
_NAMES = (str, int)
"""Values that one answer after the other has alike: names, degrees, switches."""
