"""The database gone, back, or wrong: estimates go on, writes fail clearly, nothing restarts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from service.catalog.store import Store
from service.settings import ApiKey, Settings, digest
from tests.api.secrets import WRITE, bearer
from tests.api.test_catalog_routes import region
from tests.conftest import fresh_database, serving

KEYS = (ApiKey("write", digest(WRITE)),)
ASK = {"model": {"kind": "catalog", "name": "gpt-2"}}


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread or process brings about."""
    for _ in range(400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def write(client: httpx.Client, name: str) -> httpx.Response:
    path = f"/regions/country/{name}"
    return client.put(path, json=region() | {"title": name}, headers=bearer(WRITE))


def codes(client: httpx.Client) -> list[str]:
    """Of the warnings that an estimate has now."""
    answer = client.post("/estimate", json=ASK).json()
    return [warning["code"] for warning in answer["warnings"]]


def let_in(url: str, allowed: bool) -> None:
    """Shut the database to everybody, or open it again."""
    name = url.partition("?")[0].rpartition("/")[2]
    others = url.replace(f"/{name}?", "/postgres?")
    with psycopg.connect(others, autocommit=True) as connection:
        query = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        connection.execute(query.format(sql.Identifier(name), sql.Literal(allowed)))
        if not allowed:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )


def test_a_database_that_goes_away_and_comes_back_is_said_and_forgiven(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with fresh_database("postgresql", tmp_path, request) as url:
        migrate(url)
        settings = Settings(database_url=url, api_keys=KEYS, snapshot_seconds=0.05)
        with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as client:
            before = client.post("/estimate", json=ASK).json()
            let_in(url, False)
            until(lambda: client.get("/readyz").status_code == 503)
            until(lambda: "model_sizing_database_up 0.0" in client.get("/metrics").text)
            refused = write(client, "aa")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert refused.json()["type"] == "/problems/catalog-unavailable"
            during = client.post("/estimate", json=ASK).json()
            assert "catalog-stale" in codes(client)
            assert during["time"] == before["time"]
            assert client.get("/livez").status_code == 200
            let_in(url, True)
            until(lambda: client.get("/readyz").status_code == 200)
            assert write(client, "aa").status_code == 201
            assert client.post("/estimate", json=ASK).json()["warnings"] == before["warnings"]


def test_a_server_that_starts_without_its_database_is_alive_and_becomes_ready(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with fresh_database("postgresql", tmp_path, request) as url:
        settings = Settings(database_url=url, api_keys=KEYS, snapshot_seconds=0.05)
        with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as client:
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 503
            refused = client.post("/estimate", json=ASK)
            assert (refused.status_code, refused.json()["type"]) == (
                503,
                "/problems/catalog-unavailable",
            )
            migrate(url)
            until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/estimate", json=ASK).status_code == 200


def migrate(url: str) -> None:
    environment = {"MODEL_SIZING_DATABASE_URL": url, "PATH": ""}
    command = [sys.executable, "-m", "service", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_a_write_on_one_replica_is_seen_by_the_other(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with fresh_database("postgresql", tmp_path, request) as url:
        migrate(url)
        settings = Settings(database_url=url, api_keys=KEYS, snapshot_seconds=0.05)
        with serving(settings) as one, serving(settings) as two:
            with httpx.Client(base_url=one, timeout=60) as first:
                assert write(first, "aa").status_code == 201
            with httpx.Client(base_url=two, timeout=60) as second:
                until(lambda: second.get("/regions/country/aa").status_code == 200)
                again = write(second, "aa")
                assert again.status_code == 428


def test_a_database_at_another_migration_is_alive_and_not_ready(database_url: str) -> None:
    store = Store(database_url)
    store.migrate()
    right = at_migration(store, "from-the-future")
    settings = Settings(database_url=database_url, api_keys=KEYS, snapshot_seconds=0.05)
    with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as client:
        assert client.get("/livez").status_code == 200
        unready = client.get("/readyz")
        assert unready.status_code == 503
        assert "migrat" in unready.json()["detail"]
        at_migration(store, right)
        until(lambda: client.get("/readyz").status_code == 200)
    store.close()


def test_at_another_migration_estimates_go_on_and_say_so_and_nothing_is_written(
    database_url: str,
) -> None:
    store = Store(database_url)
    store.migrate()
    store.seed()
    settings = Settings(database_url=database_url, api_keys=KEYS, snapshot_seconds=0.05)
    with serving(settings) as where, httpx.Client(base_url=where, timeout=60) as client:
        right = at_migration(store, "from-the-future")
        refused = write(client, "aa")
        assert (refused.status_code, "migrat" in refused.json()["detail"]) == (503, True)
        assert int(refused.headers["retry-after"]) > 0
        until(lambda: "catalog-stale" in codes(client))
        at_migration(store, right)
        assert write(client, "aa").status_code == 201
        until(lambda: "catalog-stale" not in codes(client))
    store.close()


def at_migration(store: Store, version: str) -> str:
    """Say that the database stands at a version; return the one before."""
    with store.engine.begin() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    return str(before)


def started(tmp_path: Path, **settings: str) -> subprocess.Popen[bytes]:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'catalog.db'}"} | settings
    environment = {f"MODEL_SIZING_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "service"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOST": "0.0.0.0"}, "API_KEYS"),
        ({"HOST": "0.0.0.0", "API_KEYS": "write:secret"}, "placeholder"),
        ({"HOST": "0.0.0.0", "API_KEYS": "write:" + 40 * "a"}, "placeholder"),
        ({"API_KEYS": "write:"}, "without a secret"),
        ({"DATABASE_URL": "abcdefghijklmnopqrstuvwxyz"}, "cannot be read"),
        ({"DATABASE_URL": "mysql://u:abcdefghijklmnopqrstuvwxyz@h/db"}, "mysql is not supported"),
        ({"API_KEYS": "root:abcdefghijklmnopqrstuvwxyz"}, "roles"),
        ({"PORT": "many"}, "PORT"),
        ({"MAX_BODY_BYTES": "1"}, "MAX_BODY_BYTES"),
    ],
    ids=str,
)
def test_unsafe_or_unreadable_settings_keep_it_from_starting(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    process = started(tmp_path, **settings)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in error.decode()
    assert "abcdefghijklmnopqrstuvwxyz" not in error.decode()


def test_sigterm_ends_it_cleanly_and_the_log_holds_lines_of_json_without_secrets(
    tmp_path: Path,
) -> None:
    secret = "a-very-long-secret-that-nobody-logs"
    process = started(tmp_path, PORT="0", API_KEYS=f"admin:{secret}")
    assert process.stderr
    lines: list[Any] = []
    for line in process.stderr:
        lines.append(line.decode())
        if "running on" in lines[-1]:
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    text = "".join(lines) + rest.decode()
    assert process.returncode in (0, -signal.SIGTERM)
    assert "shutdown complete" in text
    assert secret not in text
    assert all(line.startswith("{") for line in text.splitlines())
