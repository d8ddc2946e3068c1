"""More than a server can do: refused at once or served, and nobody is starved."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from tests.api.replicas import Replica, closed, exchanged, http, replicas
from tests.api.test_replicas import QUESTIONS

SECONDS = 10.0
LIMIT = 8
SWEEP: dict[str, Any] = {
    "base": QUESTIONS[0],
    "axes": {"/workload/tokens": [1e9 + number for number in range(40_000)]},
    "columns": ["/time/device_hours/value"],
}


class Served:
    """Statuses, and how long each answer took."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: dict[int, list[float]] = {200: [], 503: []}

    def told(self, what: str) -> None:
        for status, times in self.seconds.items():
            if len(times) > 1:
                cuts = quantiles(times, n=100)
                print(f"{what}: {len(times)} with {status}, half within {cuts[49] * 1e3:.1f} ms, "
                      f"99 of 100 within {cuts[98] * 1e3:.1f} ms")  # fmt: skip


async def asking(port: int, message: bytes, until: float, served: Served, pause: float) -> None:
    """One client that asks again as soon as it is answered, or after a pause."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        started = time.monotonic()
        status, _ = await exchanged(reader, writer, message)
        served.statuses[status] += 1
        served.seconds[status].append(time.monotonic() - started)
        await asyncio.sleep(pause)
    await closed(writer)


async def together(replica: Replica, groups: list[tuple[int, bytes, float]]) -> list[Served]:
    """Groups of clients (how many, what they ask, their pause) at the same time."""
    until = time.monotonic() + SECONDS
    served = [Served() for _ in groups]
    async with asyncio.TaskGroup() as tasks:
        for (count, message, pause), group in zip(groups, served, strict=True):
            for _ in range(count):
                tasks.create_task(asking(replica.port, message, until, group, pause))
    return served


@pytest.mark.soak
def test_too_many_sweeps_are_refused_or_served_and_estimates_go_on_beside(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    sweep, estimate = http("/sweep", SWEEP), http("/estimate", QUESTIONS[0])
    with replicas(url, 1, MAX_CONCURRENCY=str(LIMIT)) as (replica,):
        sweeps, beside = asyncio.run(together(replica, [(24, sweep, 0.05), (4, estimate, 0.05)]))
        (after,) = asyncio.run(together(replica, [(4, estimate, 0.0)]))
    for group, what in ((sweeps, "sweeps"), (beside, "estimates beside"), (after, "after")):
        group.told(what)
    assert set(sweeps.statuses) == {200, 503}
    assert set(beside.statuses) == {200}
    assert set(after.statuses) == {200}


@pytest.mark.soak
def test_sweeps_beside_estimates_do_not_starve_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    sweep, estimate = http("/sweep", SWEEP), http("/estimate", QUESTIONS[0])
    with replicas(url, 1) as (replica,):
        (alone,) = asyncio.run(together(replica, [(4, estimate, 0.01)]))
        both = asyncio.run(together(replica, [(4, estimate, 0.01), (2, sweep, 0.0)]))
    alone.told("estimates alone")
    both[0].told("estimates beside two that sweep")
    both[1].told("sweeps")
    assert set(both[0].statuses) == set(both[1].statuses) == {200}
    assert both[0].statuses[200] > 0.05 * alone.statuses[200]
