"""A database that will not be written to: estimates go on, writes get a 503, healing is enough.

Each fault is the database's own refusal, met over HTTP, on both databases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, event

from service.catalog import database
from service.catalog.store import Store
from service.settings import Settings
from tests.api.test_faults import ASK, KEYS, until, write
from tests.conftest import DATABASES, fresh_database, serving

HEALTHY = ("query_only = OFF", "max_page_count = 4294967294")
PRAGMAS = list(HEALTHY)
"""Of SQLite, in force for every transaction."""


def begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        for pragma in PRAGMAS:
            connection.exec_driver_sql(f"PRAGMA {pragma}")


@pytest.fixture(scope="module", params=DATABASES)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, httpx.Client]]:
    """A database, and a client of a server over it that waits for no lock for long."""
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_database(request.param, tmp_path_factory.mktemp("faults"), request) as url,
    ):
        patch.setattr(database, "LOCK_SECONDS", 0.2)
        patch.setattr(database, "STATEMENT_SECONDS", 0.5)
        event.listen(Engine, "begin", begin)
        store = Store(url)
        store.migrate()
        store.seed()
        store.close()
        settings = Settings(database_url=url, api_keys=KEYS, snapshot_seconds=0.05)
        with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            yield url, client
        event.remove(Engine, "begin", begin)


def on_postgresql(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)


@contextmanager
def busy(url: str) -> Iterator[None]:
    """Another writer that does not come to an end."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    with on_postgresql(url) as other, other.transaction():
        other.execute("UPDATE catalog_state SET seed = seed")
        yield


@contextmanager
def with_pragma(pragma: str) -> Iterator[None]:
    PRAGMAS[:] = [pragma]
    yield
    PRAGMAS[:] = HEALTHY


@contextmanager
def on_insert(url: str, body: str) -> Iterator[None]:
    """What PostgreSQL does when a fact is written."""
    with on_postgresql(url) as other:
        other.execute(
            f"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
        other.execute(
            "CREATE TRIGGER fault BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION fault()"
        )
        yield
        other.execute("DROP FUNCTION fault CASCADE")


FULL = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';"


def full(url: str) -> AbstractContextManager[None]:
    if url.startswith("sqlite"):
        return with_pragma("max_page_count = 1")  # which SQLite takes as: no more than now
    return on_insert(url, FULL)


def slow(url: str) -> AbstractContextManager[None]:
    """SQLite answers at once or waits for a lock."""
    return busy(url) if url.startswith("sqlite") else on_insert(url, "PERFORM pg_sleep(60);")


@contextmanager
def read_only(url: str) -> Iterator[None]:
    if url.startswith("sqlite"):
        with with_pragma("query_only = ON"):
            yield
        return
    name = sql.Identifier(url.partition("?")[0].rpartition("/")[2])
    query = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    with on_postgresql(url) as other:
        for allowed in ("on", "off"):
            other.execute(query.format(name, sql.SQL(allowed)))
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if allowed == "on":
                yield


FAULTS: Mapping[str, Callable[[str], AbstractContextManager[None]]] = {
    "busy": busy,
    "slow": slow,
    "full": full,
    "read-only": read_only,
}


@pytest.mark.parametrize("name", FAULTS)
def test_writes_are_refused_while_estimates_go_on_and_then_taken_without_a_restart(
    served: tuple[str, httpx.Client], name: str
) -> None:
    url, client = served
    acknowledged: list[str] = []
    with FAULTS[name](url):
        for number in range(300):
            refused = write(client, f"{name}-{number}")
            if refused.status_code != 201:
                break
            acknowledged.append(f"{name}-{number}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["type"] == "/problems/catalog-unavailable"
        assert client.post("/estimate", json=ASK).status_code == 200
        assert client.get("/livez").status_code == 200
    until(lambda: write(client, f"{name}-after").status_code in (201, 428))
    until(lambda: client.get("/readyz").status_code == 200)
    for written in (*acknowledged, f"{name}-after"):
        assert client.get(f"/regions/country/{written}").status_code == 200
    lost = client.get(f"/regions/country/{name}-{len(acknowledged)}")
    assert lost.status_code == 404
