"""The tables. Facts are only ever added: a correction is a newer version of the same name."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

facts = Table(
    "facts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("payload", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_date", String(10), nullable=True),
    Column("licence", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("valid_from", String(10), nullable=True),
    Column("recorded_at", String(27), nullable=False),
    Column("recorded_by", String(100), nullable=False),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("kind", "name", "version"),
    Index(None, "revision"),
)
"""Dates and times are ISO 8601 in UTC as text: equal on both databases, and they sort."""

state = Table(
    "catalog_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("recorded_at", String(27), nullable=False),
    Column("seed", String(64), nullable=False),
)
"""One row. Every writer updates it first, so writers take turns and revisions have no gaps."""
