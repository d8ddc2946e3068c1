"""What belongs to the request in progress."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The X-Request-ID of the request that this task is answering."""
