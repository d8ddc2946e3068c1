"""Bringing a database to this program's migration, and telling whether it is there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text

from service.catalog.database import reading, writing
from service.catalog.errors import WrongSchema

_LOCK = 0x6D6F64656C
"""Any number that nothing else locks: the letters "model"."""


def migrate(engine: Engine) -> None:
    """Bring the database to the newest migration.

    Harmless when run twice at once: the second waits, then finds nothing to do. Raises WrongSchema
    for a database that a newer program has migrated.
    """
    with writing(engine) as connection:
        try:
            command.upgrade(_locked(connection), "head")
        except CommandError:
            raise WrongSchema(_current(connection), head()) from None


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the database back to an older migration; what only newer ones hold is lost."""
    with writing(engine) as connection:
        command.downgrade(_locked(connection), revision)


def _locked(connection: Connection) -> Config:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = _config()
    config.attributes["connection"] = connection
    return config


def check(engine: Engine) -> None:
    """Raise WrongSchema unless the database is at this program's migration."""
    with reading(engine) as connection:
        require(connection)


def require(connection: Connection) -> None:
    """The same within a transaction, so that nothing is written at another migration."""
    found = _current(connection)
    if found != head():
        raise WrongSchema(found, head())


@cache
def head() -> str:
    """The newest migration that this program ships."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    package = Path(__file__).parent.parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
