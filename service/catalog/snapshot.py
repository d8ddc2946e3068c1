"""The read side: an immutable view of the catalog in memory, looked up by name or alias.

A snapshot is built from rows in the order in which they were written and extended by later rows
into a new snapshot; whoever holds the old one keeps it. Nothing here touches the database.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import NamedTuple

from pydantic import ValidationError

from service.catalog.errors import BeforeTheCatalog, UnknownName
from service.catalog.facts import Fact, Provenance
from service.catalog.kinds import KINDS, payload_type

logger = logging.getLogger(__name__)
SUGGESTIONS = 3
KEPT_DAYS = 16
"""Days of `as_of` whose catalogs are kept ready."""
SETTLING_SECONDS = 60
"""After midnight, until every write of the day before is surely seen."""


class Row(NamedTuple):
    """One row of the table of facts, as it is kept in memory: every version that ever stood."""

    kind: str
    name: str
    version: int
    deleted: bool
    payload: str
    source: str
    source_date: str | None
    licence: str
    note: str
    valid_from: str | None
    recorded_at: str
    recorded_by: str
    revision: int

    def holds(self, columns: Mapping[str, object]) -> bool:
        """Whether the row already says what a draft would write."""
        return all(getattr(self, name) == value for name, value in columns.items())

    def fact(self) -> Fact:
        """The typed fact."""
        provenance = Provenance(
            source=self.source,
            source_date=self.source_date,
            licence=self.licence,
            note=self.note,
            valid_from=date.fromisoformat(self.valid_from) if self.valid_from else None,
        )
        payload = payload_type(self.kind).model_validate_json(self.payload)
        return Fact(
            self.kind, self.name, self.version, payload, provenance, self.recorded_at, self.revision
        )


class Page(NamedTuple):
    """Some facts in the order of their names, and the cursor of the next page."""

    items: Sequence[Fact]
    next: str | None


@dataclass(frozen=True)
class Shelf:
    """The facts of one kind that stand."""

    kind: str
    rows: Mapping[str, Row]
    versions: Mapping[str, int]
    """The newest version of every name that ever was, removed ones included."""
    _facts: dict[str, Fact | None] = field(default_factory=dict, repr=False)
    _groups: dict[str, dict[object, list[Fact]]] = field(default_factory=dict, repr=False)

    def fact(self, name: str) -> Fact | None:
        """The fact of this name, parsed on first use; None where this program cannot read it."""
        row = self.rows.get(name)
        if row is None:
            return None
        if name not in self._facts:
            self._facts[name] = _readable(row)
        return self._facts[name]

    @cached_property
    def names(self) -> Sequence[str]:
        """Every name, sorted."""
        return sorted(self.rows)

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Alias to name; of two facts that claim one alias the first by name has it."""
        found: dict[str, str] = {}
        if "aliases" in payload_type(self.kind).model_fields:
            for fact in self.facts():
                for alias in getattr(fact.payload, "aliases", ()):
                    found.setdefault(alias, fact.name)
        return found

    def facts(self) -> Iterator[Fact]:
        """Every fact, by name."""
        return (fact for name in self.names if (fact := self.fact(name)))

    def by(self, attribute: str) -> Mapping[object, Sequence[Fact]]:
        """The facts in groups of equal value of one attribute of the payload."""
        groups = self._groups.get(attribute)
        if groups is None:
            groups = {}
            for fact in self.facts():
                groups.setdefault(getattr(fact.payload, attribute), []).append(fact)
            self._groups[attribute] = groups
        return groups

    def extended(self, rows: Sequence[Row]) -> Shelf:
        """The shelf after more rows."""
        stand, versions, facts = dict(self.rows), dict(self.versions), dict(self._facts)
        for row in rows:
            versions[row.name] = row.version
            facts.pop(row.name, None)
            if row.deleted:
                stand.pop(row.name, None)
            else:
                stand[row.name] = row
        return Shelf(self.kind, stand, versions, facts)


@dataclass(frozen=True)
class Snapshot:
    """The catalog at one revision."""

    revision: int
    recorded_at: str
    """When the newest row was written."""
    digest: str
    """Of every row in order: equal digests, equal catalogs."""
    shelves: Mapping[str, Shelf] = field(repr=False)
    history: Sequence[Sequence[Row]] = field(repr=False)
    """Every row that ever was, in the order of writing, in pieces."""
    _earlier: dict[str, Snapshot] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls) -> Snapshot:
        """A catalog without facts."""
        return cls(0, "", "", {kind: Shelf(kind, {}, {}) for kind in KINDS}, ())

    @property
    def id(self) -> str:
        """Names this state of the catalog: the revision, and what it holds."""
        return f"{self.revision}-{self.digest[:12]}"

    def extended(self, rows: Sequence[Row]) -> Snapshot:
        """The snapshot after more rows, given in the order in which they were written."""
        if not rows:
            return self
        added: dict[str, list[Row]] = {}
        for row in rows:
            added.setdefault(row.kind, []).append(row)
        changed = {
            kind: self.shelves[kind].extended(some) for kind, some in added.items() if kind in KINDS
        }
        return Snapshot(
            rows[-1].revision,
            max(self.recorded_at, rows[-1].recorded_at),
            _chained(self.digest, rows),
            {**self.shelves, **changed},
            (*self.history, tuple(rows)),
            self._earlier,
        )

    def as_of(self, day: date) -> Snapshot:
        """The catalog as it stood when the day began (00:00 UTC).

        What was written on the day itself or later is left out, so the answer never changes.
        Raises BeforeTheCatalog for a day before the first fact, and for one to come.
        """
        if day > datetime.now(UTC).date():
            raise BeforeTheCatalog(f"as_of {day} lies in the future")
        earlier = self._earlier.get(day.isoformat()) or self._before(day)
        if not earlier.revision:
            first = min((row.recorded_at for row in self.rows()), default="")[:10]
            raise BeforeTheCatalog(
                f"the catalog does not reach back to {day}; its first facts are of {first}"
            )
        return earlier

    def _before(self, day: date) -> Snapshot:
        moment = f"{day.isoformat()}T00:00:00.000000Z"
        found = Snapshot.empty().extended([row for row in self.rows() if row.recorded_at < moment])
        if (
            datetime.now(UTC) - datetime.combine(day, time.min, UTC)
        ).total_seconds() < SETTLING_SECONDS:
            return found
        if len(self._earlier) >= KEPT_DAYS:
            self._earlier.pop(next(iter(self._earlier)), None)
        self._earlier[day.isoformat()] = found
        return found

    def rows(self) -> Iterator[Row]:
        """Every row that ever was, in the order of writing."""
        for piece in self.history:
            yield from piece

    def find(self, kind: str, name: str) -> Fact | None:
        """The fact with this name or alias, in whatever case, or None."""
        payload_type(kind)
        shelf = self.shelves[kind]
        found = shelf.fact(name)
        if found is None:
            slug = name.strip().lower().replace(" ", "-")
            found = shelf.fact(slug) or shelf.fact(shelf.aliases.get(slug, ""))
        return found

    def get(self, kind: str, name: str) -> Fact:
        """The fact with this name or alias. Raises UnknownName, which suggests near ones."""
        found = self.find(kind, name)
        if found is None:
            raise UnknownName(kind, name, self.suggest(kind, name))
        return found

    def version(self, kind: str, name: str) -> int:
        """The newest version ever written under the name, 0 where there is none."""
        return self.shelves[kind].versions.get(name, 0)

    def suggest(self, kind: str, name: str) -> Sequence[str]:
        """Names near to one that is not known."""
        shelf = self.shelves[kind]
        asked = name[:100].lower()
        near = difflib.get_close_matches(asked, [*shelf.names, *shelf.aliases], 8, cutoff=0.6)
        names = [alias if alias in shelf.rows else shelf.aliases[alias] for alias in near]
        within = [other for other in shelf.names if asked and asked in other]
        return list(dict.fromkeys([*names, *within]))[:SUGGESTIONS]

    def facts(self, kind: str) -> Iterator[Fact]:
        """Every fact of a kind that stands, by name."""
        payload_type(kind)
        return self.shelves[kind].facts()

    def page(
        self,
        kind: str,
        limit: int = 50,
        cursor: str | None = None,
        search: str | None = None,
        filters: Mapping[str, object] | None = None,
    ) -> Page:
        """Facts after the cursor whose payload has the filters' values, at most `limit`.

        `search` looks into names, titles and aliases. Raises ValueError for a cursor that was
        not made here.
        """
        payload_type(kind)
        shelf = self.shelves[kind]
        start = bisect_right(shelf.names, _decoded(cursor)) if cursor else 0
        items: list[Fact] = []
        for name in shelf.names[start:]:
            fact = shelf.fact(name)
            if fact and _matches(fact, search, filters or {}):
                if len(items) == limit:
                    return Page(items, _encoded(items[-1].name))
                items.append(fact)
        return Page(items, None)


def _readable(row: Row) -> Fact | None:
    """The fact, or None (and a line in the log) for content that a newer program has written."""
    try:
        return row.fact()
    except ValidationError as error:
        logger.error(
            "catalog: version %s of %s %s cannot be read by this program: %s",
            *(row.version, row.kind, row.name, error.errors(include_input=False)[0]["msg"]),
        )
        return None


def _matches(fact: Fact, search: str | None, filters: Mapping[str, object]) -> bool:
    for key, wanted in filters.items():
        if wanted is not None and getattr(fact.payload, key, None) != wanted:
            return False
    if not search:
        return True
    aliases = getattr(fact.payload, "aliases", ())
    texts = (fact.name, getattr(fact.payload, "title", ""), *aliases)
    return any(search.lower() in text.lower() for text in texts)


def _chained(digest: str, rows: Iterable[Row]) -> str:
    for row in rows:
        digest = hashlib.sha256(f"{digest}{row[:-2]!r}".encode()).hexdigest()
    return digest


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError("the cursor was not made by this service") from None
