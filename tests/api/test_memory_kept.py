"""What a server remembers has bounds: by count in every run, in bytes over a long one."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from service.api.lifespan import lifespan
from service.catalog.snapshot import Snapshot
from service.settings import Settings
from tests.api.test_estimate import LLAMA
from tests.api.test_hostile import answered, needs_proc, resident
from tests.api.test_smallest_changes import drawn

MOST_KEPT, MOST_NETWORKS = 8_192, 512
"""Entries of a cache; of one whose keys are whole networks, which take up to a megabyte each."""
FEW = ("str", "Path", "Any")
"""Arguments that come from the program or the catalog: names, files, types of records."""
REQUESTS, MANY = 8_000, 1_000_000


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
            networks = {"Network", "Question", "Catalog"} & set(asked)
            assert most <= (MOST_NETWORKS if networks else MOST_KEPT), cache


async def remembered(settings: Settings, bodies: Iterator[Any], count: int) -> list[float]:
    """Resident bytes after each eighth of that many requests."""
    app, found = create_app(settings), []
    async with lifespan(app):
        for number in range(1, count + 1):
            await asyncio.sleep(0)  # as a server's loop turns, which clears timers away
            status, _ = await answered(app, "/estimate", json.dumps(next(bodies)).encode())
            assert status in (200, 422)
            if number % (count // 8) == 0:
                gc.collect()
                found.append(resident("VmRSS"))
                kept, objects = sys.getallocatedblocks(), len(gc.get_objects())
                megabytes = found[-1] / 1e6
                print(f"{number} requests: {megabytes:.0f} MB, {kept} blocks, {objects} objects",
                      flush=True)  # fmt: skip
    return found


def unlike(seeded: Snapshot) -> Iterator[dict[str, Any]]:
    """Requests of every kind about all models, most of them searched for changes."""
    pick = random.Random(5)
    models = [fact.name for fact in seeded.facts("models")]
    for body in drawn(7, models, [fact.name for fact in seeded.facts("accelerators")]):
        if "sequence_length" in body["workload"]:
            body["workload"]["tokens"] = pick.uniform(1e8, 1e12)
            body["workload"]["sequence_length"] = 128 * pick.randint(1, 80)
        else:
            body["workload"]["prompt_tokens"] = pick.randint(1, 32_768)
        yield body


def configs() -> Iterator[dict[str, Any]]:
    """Requests about networks of which no two are alike."""
    pick = random.Random(5)
    while True:
        heads = pick.choice((4, 8, 16))
        shape = {
            "hidden_size": 128 * pick.randint(4, 80),
            "intermediate_size": 64 * pick.randint(20, 900),
            "vocab_size": pick.randint(1_000, 200_000),
            "num_attention_heads": heads,
            "num_key_value_heads": 4,
        }
        yield {
            "model": {"kind": "huggingface", "config": LLAMA | shape},
            "workload": {"kind": "pretraining", "tokens": pick.uniform(1e8, 1e12)},
            "hardware": {"accelerator": "h100-sxm", "count": 8},
            "layout": {"tensor": pick.choice((1, 2, 4)), "zero_stage": 3},
        }


def jobs() -> Iterator[dict[str, Any]]:
    """Requests about one model, no two of them alike."""
    for number in itertools.count():
        yield {
            "model": {"kind": "catalog", "name": "llama-3.1-8b"},
            "workload": {"kind": "pretraining", "tokens": 1e9 + number},
            "hardware": {"accelerator": "h100-sxm", "count": 8},
            "layout": {"tensor": 2, "zero_stage": 3},
        }


@needs_proc
@pytest.mark.soak
@pytest.mark.parametrize("kind", ["unlike", "configs", "jobs"])
def test_memory_is_flat_once_the_caches_are_full(
    kind: str, tmp_path: Path, seeded: Snapshot
) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'catalog.db'}")
    bodies = {"unlike": unlike(seeded), "configs": configs(), "jobs": jobs()}[kind]
    found = asyncio.run(remembered(settings, bodies, MANY if kind == "jobs" else REQUESTS))
    assert found[-1] < 1.05 * found[3]
