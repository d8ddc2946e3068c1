"""Replicas in processes of their own: one row for an id, nothing lost, no wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.catalog.store import Store
from tests.api.replicas import Replica, balancer, closed, exchanged, http, replicas
from tests.api.test_runs import run
from tests.conftest import fresh_database

POST = """
import socket, sys, time, os
message = open(sys.argv[2], "rb").read()
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(message)
    print(connection.makefile("rb").readline().split()[1].decode())
"""


def posted_by_processes(ports: list[int], count: int, folder: Path) -> Counter[str]:
    """Statuses that as many processes get which post one id at the same moment."""
    message, go = folder / "message", folder / "go"
    message.write_bytes(http("/runs", run("same")))
    light = [sys.executable, "-I", "-S", "-c", POST]
    posting = [
        subprocess.Popen(
            [*light, str(ports[number % len(ports)]), message, go],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    go.touch()
    return Counter(process.communicate()[0].strip() for process in posting)


@pytest.mark.soak
def test_a_hundred_processes_that_post_one_id_to_two_replicas_leave_one_row(
    database_url: str, tmp_path: Path
) -> None:
    with replicas(database_url, 2) as both:
        found = posted_by_processes([replica.port for replica in both], 100, tmp_path)
    assert found == {"201": 1, "200": 99}
    store = Store(database_url)
    rows = [row for row in store.refresh().rows() if row.name == "same"]
    store.close()
    assert [row.version for row in rows] == [1]


WRITES = 1_000
ROUNDS = 10


def posted_until_killed(replica: Replica, prefix: str, kill_after: int) -> tuple[int, set[str]]:
    """How many runs were tried and which were acknowledged before the server was killed."""
    acknowledged: set[str] = set()
    tried = 0
    lock = threading.Lock()

    def post(first: int) -> None:
        nonlocal tried
        with httpx.Client(base_url=f"http://127.0.0.1:{replica.port}", timeout=60) as client:
            for number in range(first, WRITES, 16):
                name = f"{prefix}/{number}"
                with lock:
                    tried += 1
                try:
                    status = client.post("/runs", json=run(name)).status_code
                except httpx.TransportError:
                    return
                with lock:
                    if status == 201:
                        acknowledged.add(name)
                    if len(acknowledged) == kill_after and replica.process is not None:
                        replica.process.kill()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(post, range(16)))
    replica.kill()
    return tried, acknowledged


@pytest.mark.soak
def test_a_server_killed_ten_times_amid_a_thousand_posts_loses_none(database_url: str) -> None:
    tried, acknowledged = 0, set()
    with replicas(database_url, 1) as (replica,):
        for number in range(ROUNDS):
            more, names = posted_until_killed(replica, f"round{number}", 30 + 90 * number)
            tried, acknowledged = tried + more, acknowledged | names
            replica.start()
            store = Store(database_url)
            shelf = store.refresh().shelves["runs"]
            store.close()
            lost = acknowledged - set(shelf.rows)
            assert not lost
            assert all(shelf.fact(name).payload for name in shelf.rows)
    print(f"{database_url.partition(':')[0]}: tried {tried}, acknowledged {len(acknowledged)}, "
          "lost 0, half there 0")  # fmt: skip


BEGUN = 8


async def held_open(replica: Replica) -> tuple[int, list[int], int | None]:
    """Statuses of a quick request beside slow ones, and of the slow ones after SIGTERM."""
    message = http("/estimate", QUESTIONS[0])
    slow = [await asyncio.open_connection("127.0.0.1", replica.port) for _ in range(BEGUN)]
    for _, out in slow:
        out.write(message[:-5])
        await out.drain()
    quick = await asyncio.open_connection("127.0.0.1", replica.port)
    beside, _ = await exchanged(*quick, message)
    await closed(quick[1])
    load = [asyncio.create_task(asking_on(replica.port, message)) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert replica.process is not None
    replica.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    after = [(await exchanged(come, out, message[-5:]))[0] for come, out in slow]
    for _, out in slow:
        await closed(out)
    asked = sum(await asyncio.gather(*load))
    assert asked > 0
    return beside, after, await asyncio.to_thread(replica.process.wait, 60)


async def asking_on(port: int, message: bytes) -> int:
    """How often one connection is answered until the server takes no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    try:
        while True:
            status, _ = await exchanged(reader, writer, message)
            assert status in (200, 503)
            answered += 1
    except OSError:
        return answered
    finally:
        await closed(writer)


def test_slow_clients_hold_nothing_up_and_what_was_begun_outlives_sigterm_under_load(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    with replicas(url, 1, MAX_CONCURRENCY=str(BEGUN + 4)) as (replica,):
        beside, after, exit_status = asyncio.run(held_open(replica))
    assert (beside, after) == (200, [200] * BEGUN)
    assert exit_status in (0, -signal.SIGTERM)


async def told_to_stop(replica: Replica) -> list[int]:
    """Statuses of what is asked on open connections once no more are taken."""
    message = http("/estimate", QUESTIONS[0])
    opened = [await asyncio.open_connection("127.0.0.1", replica.port) for _ in range(BEGUN)]
    for come, out in opened:
        assert (await exchanged(come, out, message))[0] == 200
    assert replica.process is not None
    replica.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(OSError):
        while True:
            _, late = await asyncio.open_connection("127.0.0.1", replica.port)
            await closed(late)
            await asyncio.sleep(0.01)
    asked = [exchanged(come, out, message) for come, out in opened]
    answers = await asyncio.gather(*asked)
    for come, out in opened:
        assert await come.read() == b""
        await closed(out)
    return [status for status, _ in answers]


def test_what_open_connections_bring_once_it_is_told_to_stop_is_answered(tmp_path: Path) -> None:
    with replicas(f"sqlite:///{tmp_path / 'catalog.db'}", 1) as (replica,):
        assert asyncio.run(told_to_stop(replica)) == [200] * BEGUN


REQUESTS = 200_000
CONNECTIONS = 24
QUESTIONS: list[dict[str, Any]] = [
    {
        "model": {"kind": "catalog", "name": name},
        "workload": {"kind": "pretraining", "tokens": tokens},
        "hardware": {"accelerator": accelerator, "count": 8},
    }
    for name in ("gpt-2", "pythia-1b", "llama-3.2-1b")
    for tokens in (1e9, 2e9)
    for accelerator in ("h100-sxm", "a100-sxm4-80gb")
]


class Tally(Counter[str]):
    """Requests answered rightly, wrongly, with another status, and broken off."""


async def asked(port: int, expected: list[bytes], tally: Tally, total: int) -> None:
    """One client: asks on one connection, and on a new one where that breaks."""
    messages = [http("/estimate", question) for question in QUESTIONS]
    while tally.total() < total:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while tally.total() < total:
                which = tally.total() % len(messages)
                status, body = await exchanged(reader, writer, messages[which])
                right = "right" if body == expected[which] else "wrong"
                tally[right if status == 200 else f"status {status}"] += 1
        except OSError:
            tally["broken off"] += 1
            await asyncio.sleep(0.01)
        finally:
            await closed(writer)


async def through_the_balancer(both: list[Replica], total: int) -> Tally:
    tally = Tally()
    ports = [replica.port for replica in both]
    first = await asyncio.open_connection("127.0.0.1", ports[0])
    expected = [(await exchanged(*first, http("/estimate", q)))[1] for q in QUESTIONS]
    await closed(first[1])
    async with balancer(ports) as port:
        clients = [
            asyncio.create_task(asked(port, expected, tally, total)) for _ in range(CONNECTIONS)
        ]
        while tally.total() < total // 3:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(both[0].kill)
        while tally.total() < total // 2:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(both[0].start)
        await asyncio.gather(*clients)
    return tally


def balanced(database_url: str, total: int) -> Tally:
    with replicas(database_url, 2) as both:
        tally = asyncio.run(through_the_balancer(both, total))
    assert tally["wrong"] == 0
    assert tally["broken off"] <= 2 * CONNECTIONS
    assert set(tally) <= {"right", "wrong", "broken off"}
    return tally


@pytest.mark.soak
def test_one_of_two_replicas_killed_under_load_gives_no_wrong_answer(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with fresh_database("postgresql", tmp_path, request) as url:
        print(dict(balanced(url, REQUESTS)))
