"""What a server remembers has bounds: by count in every run, in bytes over a long one."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from service.api.lifespan import lifespan
from service.settings import Settings
from tests.api.test_hostile import answered, needs_proc, resident
from tests.api.test_smallest_changes import drawn

MOST_KEPT = 8_192
FEW = ("str", "Path", "Any")
"""Arguments that come from the program or the catalog: names, files, types of records."""
REQUESTS = 6_000


def caches() -> Iterator[functools._lru_cache_wrapper[Any]]:
    """Every cache of the modules that a server has loaded."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("service.api", "service.core", "service.catalog")):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper) and value.__module__ == name:
                    yield value


def test_every_cache_that_requests_fill_is_bounded() -> None:
    found = list(caches())
    assert len(found) > 20
    for cache in found:
        asked = [str(each.annotation) for each in inspect.signature(cache).parameters.values()]
        most = cache.cache_parameters()["maxsize"]
        if most is None:
            finite = cache.__qualname__ == "network" and asked == ["int"]  # the rungs of sizes
            assert finite or set(asked) <= set(FEW), cache
        else:
            assert most <= MOST_KEPT, cache


async def remembered(settings: Settings, count: int) -> list[float]:
    """Resident bytes after each sixth of that many requests, no two of them alike."""
    app, pick, found = create_app(settings), random.Random(5), []
    async with lifespan(app):
        catalog = app.state.store.snapshot
        models = [fact.name for fact in catalog.facts("models")]
        bodies = drawn(7, models, [fact.name for fact in catalog.facts("accelerators")])
        for number in range(1, count + 1):
            body = next(bodies)
            body["workload"]["tokens"] = pick.uniform(1e8, 1e12)
            if "sequence_length" in body["workload"]:
                body["workload"]["sequence_length"] = 128 * pick.randint(1, 80)
            else:
                del body["workload"]["tokens"]
                body["workload"]["prompt_tokens"] = pick.randint(1, 32_768)
            status, _ = await answered(app, "/estimate", json.dumps(body).encode())
            assert status in (200, 422)
            if number % (count // 6) == 0:
                found.append(resident("VmRSS"))
                print(f"{number} distinct requests: {found[-1] / 1e6:.0f} MB", flush=True)
    return found


@needs_proc
@pytest.mark.soak
def test_memory_levels_off_over_requests_that_are_all_distinct(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'catalog.db'}")
    found = asyncio.run(remembered(settings, REQUESTS))
    assert found[-1] < 1.1 * found[2]
