"""What can go wrong in the catalog, as one tree.

CatalogError
├── UnknownKind          no such kind of fact
├── UnknownName          no such name; carries suggestions
├── BeforeTheCatalog     an `as_of` from before the first fact, or from the future
├── InvalidFact          a document that cannot be a fact; carries the problems, field by field
├── VersionConflict      somebody else wrote first; carries the version that stands
└── StoreUnavailable     the database cannot serve at the moment
    └── WrongSchema      the database is at another migration than this program
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FieldProblem(NamedTuple):
    """One thing wrong with a document: a JSON pointer into it, and what to change."""

    pointer: str
    message: str


class CatalogError(Exception):
    """Anything that the catalog refuses or cannot do."""


class UnknownKind(CatalogError):
    """No such kind of fact."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"there are no facts of kind {kind!r}")
        self.kind = kind


class UnknownName(CatalogError):
    """No fact of this kind has this name or alias."""

    def __init__(self, kind: str, name: str, suggestions: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(suggestions)}?" if suggestions else ""
        super().__init__(f"{kind} holds no {name[:100]!r}{hint}")
        self.kind = kind
        self.name = name
        self.suggestions = tuple(suggestions)


class BeforeTheCatalog(CatalogError):
    """An `as_of` that the catalog cannot answer for."""


class InvalidFact(CatalogError):
    """A document that cannot be a fact of its kind."""

    def __init__(self, kind: str, name: str, problems: Sequence[FieldProblem]) -> None:
        first = f"{problems[0].pointer}: {problems[0].message}" if problems else "is not valid"
        super().__init__(f"{kind} {name[:100]!r}: {first}")
        self.kind = kind
        self.name = name
        self.problems = tuple(problems)


class VersionConflict(CatalogError):
    """The fact is not at the version that the writer had seen."""

    def __init__(self, kind: str, name: str, expected: int, current: int) -> None:
        stands = f"version {current} stands" if current else "it does not exist"
        super().__init__(f"{kind} {name!r}: version {expected} was expected, but {stands}")
        self.kind = kind
        self.name = name
        self.expected = expected
        self.current = current


class UnusableUrl(ValueError):
    """No database can stand under the URL that the settings give."""


class StoreUnavailable(CatalogError):
    """The database is away, locked, read-only or full. Reading goes on from the snapshot."""


class WrongSchema(StoreUnavailable):
    """The database is not at the migration that this program was written for."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database is at migration {found or 'none'}, this program needs {wanted}; "
            "run `python -m service migrate`"
        )
        self.found = found
        self.wanted = wanted
