"""Published statements about size, hours, memory or carbon, kept so that they can be checked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.catalog.facts import Payload


class ClaimFacts(Payload):
    """One statement, in words and as quantities."""

    statement: Annotated[str, Field(min_length=3, max_length=1_000)]
    quantities: dict[Annotated[str, Field(max_length=60)], Any] = Field(min_length=1, max_length=40)
    published: Annotated[str, Field(min_length=3, max_length=500)]
