"""What one application holds: its settings, its catalog, its metrics."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import Depends, Request

from service.api.answers import Answers, Searched
from service.api.metrics import Metrics
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store


def store(request: Request) -> Store:
    """The catalog."""
    found: Store = request.app.state.store
    return found


def metrics(request: Request) -> Metrics:
    """The counters."""
    found: Metrics = request.app.state.metrics
    return found


def answers(request: Request) -> Answers:
    """The answers given before."""
    found: Answers = request.app.state.answers
    return found


def searched(request: Request) -> Searched:
    """The requests whose layout was searched for."""
    found: Searched = request.app.state.searched
    return found


def snapshot(request: Request, as_of: datetime.date | None = None) -> Snapshot:
    """The catalog as last read, or as it stood on a day."""
    found = store(request).snapshot
    return found.as_of(as_of) if as_of else found


StoreHere = Annotated[Store, Depends(store)]
