"""Alembic's entry: on the connection that it is given, or on the one that the settings name."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from service.catalog.database import engine, writing
from service.catalog.tables import metadata
from service.settings import from_environment


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with writing(engine(from_environment().database_url)) as opened:
        run(opened)
