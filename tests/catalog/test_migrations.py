"""Migrations equal the tables, go up and down with data in place, and may be run twice at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from service.catalog.database import engine, reading
from service.catalog.errors import StoreUnavailable, WrongSchema
from service.catalog.migrate import check, downgrade, head, migrate
from service.catalog.store import Store
from service.catalog.tables import metadata
from tests.catalog.documents import region


def test_the_migrated_database_equals_the_tables(database_url: str) -> None:
    made = engine(database_url)
    migrate(made)
    with reading(made) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    made.dispose()


def test_migrations_go_up_down_and_up_with_data_in_place(database_url: str) -> None:
    store = Store(database_url)
    store.migrate()
    store.put("regions", "country/ut", region())
    downgrade(store.engine)
    with reading(store.engine) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    store.close()
    again = Store(database_url)
    again.migrate()
    again.check()
    assert again.put("regions", "country/ut", region()).version == 1
    again.close()


def test_migrating_again_keeps_what_is_there(database_url: str) -> None:
    store = Store(database_url)
    store.migrate()
    store.put("regions", "country/ut", region())
    before = store.snapshot.id
    store.migrate()
    assert store.refresh().id == before
    store.close()


def test_two_migrations_at_once_are_harmless(database_url: str) -> None:
    engines = [engine(database_url) for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(migrate, engines))
    for made in engines:
        check(made)
        made.dispose()


def test_a_database_without_the_schema_is_told_what_to_run(database_url: str) -> None:
    store = Store(database_url)
    with pytest.raises(WrongSchema, match=f"needs {head()}; run `python -m service migrate`"):
        store.check()
    with pytest.raises(StoreUnavailable, match="run `python -m service migrate`"):
        store.refresh()
    store.close()
