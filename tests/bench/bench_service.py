"""The service as a process: CPU of a request against a route that does nothing, start, memory."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.bench_core import LLAMA
from tests.bench.figures import BATCHES, Figure
from tests.bench.live import Server, started
from tests.documents import REQUEST

TIMES = 1_000
WITH_LAYOUT = REQUEST | {"layout": {"tensor": 4}}
BODIES = {
    "by name": REQUEST,
    "by name, with a layout": WITH_LAYOUT,
    "by config.json": REQUEST | {"model": {"kind": "huggingface", "config": LLAMA}},
    "for serving": {
        "model": REQUEST["model"],
        "workload": {"kind": "inference", "prompt_tokens": 1000, "concurrency": 8},
        "hardware": {"accelerator": "h100-sxm", "count": 1},
    },
}
_numbers = count(1)


def run() -> Iterator[Figure]:
    """CPU seconds are the server's own, from the system; medians of five batches."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"MODEL_SIZING_DATABASE_URL": f"sqlite:///{folder}/catalog.db"}
        with started("service", settings=settings) as server:
            yield Figure("start on a new SQLite, migrated and seeded", server.ready_seconds, "s")
        with started("service", settings=settings) as server:
            yield Figure("start to ready", server.ready_seconds, "s", "at most 2.5")
            resident = server.resident_bytes / 2**20
            yield Figure("resident memory when ready", resident, "MiB", "at most 150")
            for name, body in BODIES.items():
                yield from _against_nothing(server, name, body, Path(folder) / "answer.json")
            yield from _large(server)
            resident = server.resident_bytes / 2**20
            yield Figure("resident memory after all of this", resident, "MiB")


def _against_nothing(server: Server, name: str, body: Any, kept: Path) -> Iterator[Figure]:
    kept.write_bytes(server.post("/estimate", [body]))
    with started("tests.bench.noop", str(kept)) as noop:
        noop.post("/estimate", [body])
        rounds = [
            (
                noop.cost("/estimate", [body] * TIMES),
                server.cost("/estimate", [body] * TIMES),
                server.cost("/estimate", [_changed(body) for _ in range(TIMES)]),
            )
            for _ in range(BATCHES)
        ]
    nothing, same, new = (
        [statistics.median(figures) for figures in zip(*costs, strict=True)]
        for costs in zip(*rounds, strict=True)
    )
    yield Figure(f"no-op route, {name}: CPU", nothing[0] * 1e6, "us")
    yield Figure(f"POST /estimate {name}: CPU", same[0] * 1e6, "us")
    ratio = f"POST /estimate {name} against the no-op route, CPU"
    yield Figure(ratio, _ratio(rounds, 1), "times", "at most 1.6")
    yield Figure(f"POST /estimate {name}, p50", same[1] * 1e3, "ms")
    yield Figure(f"POST /estimate {name}, p99", same[2] * 1e3, "ms")
    yield Figure(f"POST /estimate {name}, never asked before: CPU", new[0] * 1e6, "us")
    yield Figure(f"{ratio}, never asked before", _ratio(rounds, 2), "times")


def _ratio(rounds: list[Any], which: int) -> float:
    return statistics.median(costs[which].cpu / costs[0].cpu for costs in rounds)


def _changed(body: Any) -> Any:
    """The same job with another number of tokens."""
    workload = body["workload"]
    name = "tokens" if workload["kind"] == "pretraining" else "prompt_tokens"
    return body | {"workload": workload | {name: int(workload.get(name, 0)) + next(_numbers)}}


def _large(server: Server) -> Iterator[Figure]:
    sweep = {
        "base": WITH_LAYOUT,
        "axes": {
            "/workload/tokens": [1e12 + 1e9 * n for n in range(1000)],
            "/pricing/usd_per_device_hour": [1.0 + n / 50 for n in range(100)],
        },
        "columns": ["/memory/peak_bytes/value", "/cost/usd/value", "/verdict/admission"],
    }
    for accept in ("application/json", "text/csv"):
        cost = server.cost("/sweep", [sweep] * 5, accept)
        yield Figure(f"POST /sweep of 100,000 rows, {accept}: CPU", cost.cpu * 1e3, "ms")
    batches = [{"requests": [_changed(WITH_LAYOUT) for _ in range(1000)]} for _ in range(3)]
    cost = server.cost("/estimate/batch", batches)
    yield Figure("POST /estimate/batch of 1,000: CPU", cost.cpu * 1e3, "ms")
    layouts = {
        "request": {
            "model": {"kind": "catalog", "name": "llama-3.1-405b"},
            "hardware": {"accelerator": "h100-sxm", "count": 16384},
        },
        "devices": [16384],
    }
    server.post("/layouts", [layouts])
    cost = server.cost("/layouts", [layouts] * 5)
    yield Figure("POST /layouts for 405B on 16,384 devices: CPU", cost.cpu * 1e3, "ms")
