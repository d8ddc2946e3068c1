"""A fact: a named, versioned, typed payload with its provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*(?:/[a-z0-9][a-z0-9._+-]*)*", re.ASCII)
"""Names are lower-case slugs; a slash separates a provider or a country from its part."""

Slug = Annotated[
    str, StringConstraints(max_length=200, pattern=rf"^{NAME.pattern}$", strip_whitespace=False)
]
Text = Annotated[str, StringConstraints(max_length=2_000)]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    return text


Plain = AfterValidator(_storable)
"""For text in a column of its own: PostgreSQL has no NUL."""
PartialDate = Annotated[str, StringConstraints(pattern=r"^\d{4}(-(0[1-9]|1[0-2])(-\d{2})?)?$")]
"""A date, or a month or a year where the source tells no more."""


class Payload(BaseModel):
    """The typed content of a fact. Unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    def text(self) -> str:
        """Canonical JSON: sorted keys, no defaults; equal content has equal text."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(
            values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )


def _written(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError("a date is a string such as 2026-03-01")
    return value


class Provenance(BaseModel):
    """Where a fact comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, StringConstraints(min_length=3, max_length=2_000), Plain]
    source_date: PartialDate | None = None
    """When the source stated it; None where the source tells no date."""
    licence: Annotated[str, StringConstraints(min_length=2, max_length=500), Plain]
    note: Annotated[Text, Plain] = ""
    valid_from: Annotated[date, BeforeValidator(_written)] | None = Field(default=None)
    """The day from which the fact holds, where that is another day than the source's."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One version of one fact."""

    kind: str
    name: str
    version: int
    payload: Payload
    provenance: Provenance
    recorded_at: str
    revision: int

    @property
    def etag(self) -> str:
        """A strong entity tag, quotes included."""
        return f'"{self.version}"'

    def document(self) -> dict[str, Any]:
        """The fact as callers see it: name, payload, and provenance with version and time."""
        provenance = self.provenance.model_dump(mode="json", exclude_none=True)
        stamp = {"version": self.version, "recorded_at": self.recorded_at}
        content = self.payload.model_dump(mode="json", exclude_none=True)
        return {"name": self.name, **content, "provenance": provenance | stamp}


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid fact that is not written yet; `payload` None asks for its removal."""

    kind: str
    name: str
    payload: Payload | None
    provenance: Provenance

    def columns(self) -> Mapping[str, Any]:
        """The values of the columns that the writer decides."""
        valid_from = self.provenance.valid_from
        return {
            "kind": self.kind,
            "name": self.name,
            "deleted": self.payload is None,
            "payload": self.payload.text() if self.payload else "",
            "source": self.provenance.source,
            "source_date": self.provenance.source_date,
            "licence": self.provenance.licence,
            "note": self.provenance.note,
            "valid_from": valid_from.isoformat() if valid_from else None,
        }


def now() -> str:
    """The present moment, as the catalog writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
