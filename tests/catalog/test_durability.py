"""A writer that is killed: what it had acknowledged is there, and nothing is half there."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from service.catalog.store import Store

WRITER = """
import sys, threading
from service.catalog.store import Store
from tests.catalog.documents import region
store = Store(sys.argv[1])
store.refresh()
lock = threading.Lock()
def write(first):
    for number in range(first, 1000, 8):
        fact = store.put("regions", f"round{sys.argv[2]}/r{number}", region())
        with lock:
            print(fact.name, flush=True)
threads = [threading.Thread(target=write, args=(first,)) for first in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def killed_after(url: str, round_number: int, acknowledged: int) -> set[str]:
    """The writes that a writer had acknowledged when it was killed."""
    names: set[str] = set()
    command = [sys.executable, "-c", WRITER, url, str(round_number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            names.add(line.strip())
            if len(names) == acknowledged:
                writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    return names


def assert_kept(url: str, acknowledged: set[str]) -> None:
    fresh = Store(url)
    snapshot = fresh.refresh()
    assert acknowledged <= set(snapshot.shelves["regions"].rows)
    rows = list(snapshot.rows())
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.deleted or row.fact().payload for row in rows)
    fresh.put("regions", "after", rows[0].fact().document() | {"name": "after"})
    fresh.delete("regions", "after")
    fresh.close()


def test_a_killed_writer_loses_nothing_that_it_acknowledged(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    assert_kept(url, killed_after(url, 0, 60))


@pytest.mark.soak
def test_ten_writers_killed_amid_a_thousand_writes_lose_nothing(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    acknowledged: set[str] = set()
    for number in range(10):
        acknowledged |= killed_after(url, number, 50 + 90 * number)
        assert_kept(url, acknowledged)
    print(f"acknowledged {len(acknowledged)}, lost 0")
