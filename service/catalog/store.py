"""The catalog's door: migrate, seed, read through the snapshot, write with optimistic versions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from service.catalog import migrate as migrations
from service.catalog import rules, seeds
from service.catalog.database import engine, reading, writing
from service.catalog.drafts import draft, removal
from service.catalog.errors import (
    CatalogError,
    InvalidFact,
    StoreUnavailable,
    UnknownName,
    VersionConflict,
    WrongSchema,
)
from service.catalog.facts import Draft, Fact, now
from service.catalog.snapshot import Row, Snapshot
from service.catalog.tables import facts, state

POLL_SECONDS = 0.5
INSERT_ROWS = 2_000
logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


@dataclass(frozen=True)
class Health:
    """How the store stands. `problem` is empty while the database answers."""

    problem: str
    age_seconds: float
    """Since the snapshot was last known to be the newest."""


class Store:
    """The catalog in one database.

    `snapshot` never waits for the database: a thread (`follow`) replaces it when another process
    has written. Every method that writes raises StoreUnavailable while the database cannot serve,
    and has then written nothing.
    """

    def __init__(self, url: str, poll_seconds: float = POLL_SECONDS) -> None:
        self.engine = engine(url)
        self._reader = engine(url, connections=1)  # writers in a queue must not delay reading
        self.poll_seconds = poll_seconds
        self._snapshot: Snapshot | None = None
        self._problem = "the catalog has not been read yet"
        self._seen = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def embedded(self) -> bool:
        """Whether the database is a file of this process (SQLite)."""
        return self.engine.dialect.name == "sqlite"

    def migrate(self) -> None:
        """Bring the database to this program's schema."""
        migrations.migrate(self.engine)

    def check(self) -> None:
        """Raise WrongSchema or StoreUnavailable unless the database is ready for this program."""
        migrations.check(self.engine)

    @property
    def snapshot(self) -> Snapshot:
        """The catalog as last read. Raises StoreUnavailable before the first reading."""
        if self._snapshot is None:
            raise StoreUnavailable(self._problem)
        return self._snapshot

    @property
    def health(self) -> Health:
        """The last problem with the database, and the age of the snapshot."""
        return Health(self._problem, time.monotonic() - self._seen)

    def refresh(self) -> Snapshot:
        """Read what was written since, and return the newest snapshot.

        At another migration what can be read is read, and `health` says so.
        """
        known, problem = self._snapshot or Snapshot.empty(), ""
        try:
            with reading(self._reader) as connection:
                try:
                    migrations.require(connection)
                except WrongSchema as wrong:
                    problem = str(wrong)
                newest = connection.execute(select(state.c.revision)).scalar_one()
                if newest < known.revision:  # the database was put back to an earlier state
                    self._snapshot = None
                found = known if newest == known.revision else self._caught_up(connection)
        except StoreUnavailable as error:
            self._problem = str(error)
            raise
        return self._adopt(found, problem)

    def follow(self) -> None:
        """Start the thread that keeps the snapshot fresh, through faults too."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="catalog", daemon=True)
            self._thread.start()

    def _follow(self) -> None:
        while not self._stop.wait(self.poll_seconds):
            before = self._problem
            with suppress(CatalogError):
                self.refresh()
            if self._problem and self._problem != before:
                logger.warning("catalog: %s", self._problem)
            elif before and not self._problem:
                logger.info("catalog: the database answers again")

    def close(self) -> None:
        """Stop following and close every connection."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.engine.dispose()
        self._reader.dispose()

    def put(
        self,
        kind: str,
        name: str,
        document: Mapping[str, Any],
        *,
        expected: int | None = None,
        by: str = "",
    ) -> Fact:
        """Add a version of a fact; content that already stands adds none.

        `document` holds the payload's fields and `provenance`. `expected` is the version that
        the writer has seen, 0 for a fact that must not exist, None for whatever stands.
        Raises InvalidFact, VersionConflict, StoreUnavailable.
        """
        written = draft(kind, name, document)

        def plan(current: Snapshot) -> Sequence[Draft]:
            _expect(current, kind, name, expected)
            if problems := rules.against(current, written):
                raise InvalidFact(kind, name, problems)
            return [written]

        return self.write(plan, by=by).get(kind, name)

    def delete(
        self,
        kind: str,
        name: str,
        *,
        expected: int | None = None,
        by: str = "",
        reason: str = "",
    ) -> None:
        """Remove a fact from what stands; its history stays. Raises UnknownName and as `put`."""
        gone = removal(kind, name, reason)

        def plan(current: Snapshot) -> Sequence[Draft]:
            if name not in current.shelves[kind].rows:
                raise UnknownName(kind, name, current.suggest(kind, name))
            _expect(current, kind, name, expected)
            return [gone]

        self.write(plan, by=by)

    def seed(self) -> None:
        """Bring the facts that this program ships into the catalog, once a release.

        A fact that somebody has changed since is left as it is.
        """
        digest = seeds.digest()
        with reading(self.engine) as connection:
            if connection.execute(select(state.c.seed)).scalar_one() == digest:
                return

        def plan(current: Snapshot) -> Sequence[Draft]:
            return seeds.missing(current)

        fresh = self.refresh().revision == 0
        self.write(plan, by=seeds.AUTHOR, recorded_at=seeds.RECORDED_AT if fresh else None)
        with writing(self.engine) as connection:
            connection.execute(update(state).values(seed=digest))

    def write(
        self,
        plan: Callable[[Snapshot], Sequence[Draft]],
        *,
        by: str = "",
        recorded_at: str | None = None,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Write drafts as one revision, all or none; return the catalog as of that revision.

        `plan` is given the catalog as it stands while no other writer can change it, and tells
        what to write; whatever it raises undoes the transaction.
        """
        with writing(self.engine) as connection:
            migrations.require(connection)
            query = select(state.c.revision, state.c.recorded_at).with_for_update()
            revision, last = connection.execute(query).one()
            current = self._caught_up(connection)
            moment = max(recorded_at or now(), last)
            rows = _new_rows(current, plan(current), moment, by, revision + 1)
            if not rows:
                return current
            _insert(connection, rows, progress)
            connection.execute(update(state).values(revision=revision + 1, recorded_at=moment))
        written = current.extended(rows)
        self._adopt(written)
        return written

    def _caught_up(self, connection: Connection) -> Snapshot:
        known = self._snapshot or Snapshot.empty()
        query = select(*(facts.c[name] for name in Row._fields)).order_by(facts.c.id)
        found = connection.execute(query.where(facts.c.revision > known.revision))
        return known.extended([Row(*row) for row in found])

    def _adopt(self, snapshot: Snapshot, problem: str = "") -> Snapshot:
        with self._lock:
            if self._snapshot is None or snapshot.revision > self._snapshot.revision:
                self._snapshot = snapshot
            self._problem = problem
            self._seen = time.monotonic()
            return self._snapshot


def _new_rows(
    current: Snapshot, drafts: Sequence[Draft], moment: str, by: str, revision: int
) -> Sequence[Row]:
    """The rows that drafts add: none for content that already stands."""
    latest: dict[tuple[str, str], Row] = {}
    rows = []
    for item in drafts:
        key = (item.kind, item.name)
        shelf = current.shelves[item.kind]
        standing = latest.get(key) or shelf.rows.get(item.name)
        columns = item.columns()
        if standing is not None and standing.holds(columns):
            continue
        version = latest[key].version if key in latest else shelf.versions.get(item.name, 0)
        row = Row(
            **columns,
            version=version + 1,
            recorded_at=moment,
            recorded_by=by[:100],
            revision=revision,
        )
        latest[key] = row
        rows.append(row)
    return rows


def _insert(connection: Connection, rows: Sequence[Row], progress: Progress | None) -> None:
    for start in range(0, len(rows), INSERT_ROWS):
        piece = rows[start : start + INSERT_ROWS]
        connection.execute(insert(facts), [row._asdict() for row in piece])
        if progress:
            progress(start + len(piece), len(rows))


def _expect(current: Snapshot, kind: str, name: str, expected: int | None) -> None:
    row = current.shelves[kind].rows.get(name)
    stands = row.version if row else 0
    if expected is not None and expected != stands:
        raise VersionConflict(kind, name, expected, stands)
