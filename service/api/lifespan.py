"""Start and stop: open the catalog, keep it fresh, close it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from service.api.problems import ProblemError
from service.api.resolve import places
from service.api.resolve.ledger import Ledger
from service.api.resolve.sized import fold_ladder
from service.catalog.errors import StoreUnavailable
from service.catalog.store import Store

logger = logging.getLogger("service")
RETRY_SECONDS = 1.0
GARBAGE_OBJECTS = 10_000
"""New lists and objects after which the young ones are searched for garbage."""


def prepare(store: Store) -> None:
    """Read the catalog. An embedded database is migrated and seeded first.

    What then is in memory stays, so the search for garbage is told to pass it by: it would take
    a third of a request's time, and hold some of them up for a fifth of a second. It is made less
    often too: reading a body of many lists took five times as long.
    """
    if store.embedded:
        store.migrate()
        store.seed()
    store.refresh()
    with suppress(ProblemError):  # a catalog without the accelerator that stands for none
        fold_ladder(places.accelerator(store.snapshot, None, Ledger()))
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


async def _until_prepared(store: Store) -> None:
    told = ""
    while True:
        try:
            await asyncio.to_thread(prepare, store)
            store.follow()
            return
        except StoreUnavailable as error:
            if str(error) != told:
                told = str(error)
                logger.warning("not ready: %s", told)
        await asyncio.sleep(RETRY_SECONDS)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Serve while the catalog is open; a database that is away does not keep us from starting."""
    store: Store = app.state.store
    settings = app.state.settings
    if not settings.api_keys and settings.loopback and settings.writes != "closed":
        logger.warning("no API keys are set: anybody on this machine may write to the catalog")
    task = asyncio.create_task(_until_prepared(store))
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 10)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(store.close)
