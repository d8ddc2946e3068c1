"""Engines and transactions for SQLite and PostgreSQL, and what their failures mean.

Writers are serialised: each begins by updating the single row of `catalog_state` (on SQLite by
`BEGIN IMMEDIATE`), so that revisions are dense and a reader that has seen a revision has seen
every row of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from service.catalog.errors import StoreUnavailable, UnusableUrl

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 30
LOCK_SECONDS = 20


def engine(url: str, connections: int = 16) -> Engine:
    """An engine for the URL with at most so many connections; nothing is opened yet."""
    parsed = _read(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    return create_engine(
        parsed,
        pool_size=min(connections, 4),
        max_overflow=max(connections - 4, 0),
        pool_timeout=LOCK_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": CONNECT_SECONDS * 1000,
            "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={LOCK_SECONDS}s",
        },
    )


def _read(url: str) -> URL:
    """The URL with a driver. Raises UnusableUrl, which does not repeat what may hold a secret."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise UnusableUrl(
            "the database's URL cannot be read: use sqlite:/// or postgresql://"
        ) from None
    return _with_driver(parsed)


def _with_driver(url: URL) -> URL:
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UnusableUrl(f"{url.drivername} is not supported: use sqlite:/// or postgresql://")
    return url


def _sqlite(url: URL) -> Engine:
    made = create_engine(url, hide_parameters=True, connect_args={"timeout": LOCK_SECONDS})
    event.listen(made, "connect", _prepare_sqlite)
    event.listen(made, "begin", _begin_sqlite)
    return made


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; where two do so at once, SQLite itself does not wait."""
    deadline = monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def reading(source: Engine) -> Iterator[Connection]:
    """A transaction that only reads."""
    with faults(), source.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(source: Engine) -> Iterator[Connection]:
    """A transaction that writes, committed at the end; on SQLite it takes the lock at once."""
    with (
        faults(),
        source.connect().execution_options(writing=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def faults() -> Iterator[None]:
    """Turn the driver's failures into StoreUnavailable; no URL, statement or value in its text."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise StoreUnavailable(_reason(error)) from error


def _reason(error: exc.SQLAlchemyError) -> str:
    cause: Any = getattr(error, "orig", None)
    text = str(cause or error).splitlines()[0].lower()
    for sign, reason in _REASONS.items():
        if sign in text:
            return reason
    return "the database cannot be reached"


_REASONS = {
    "readonly": "the database is read-only",
    "read-only": "the database is read-only",
    "disk is full": "the database's disk is full",
    "no space left": "the database's disk is full",
    "locked": "the database is busy",
    "lock timeout": "the database is busy",
    "statement timeout": "the database is too slow",
    "no such table": "the database holds no catalog; run `python -m service migrate`",
    'relation "': "the database holds no catalog; run `python -m service migrate`",
}
