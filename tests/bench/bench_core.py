"""The core: one estimate, first sight of a config, a sweep of a million rows, a layout search."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from service.calibration import reference
from service.core import compute, estimate, memory, parameters, search, sweep, throughput
from service.core.architecture.families import registry
from service.core.parallelism import Kernels, Layout
from service.core.scaling_laws import sizing
from service.core.spending import Site

Figure = tuple[str, float, str]
SITE = Site(400.0, 1.2)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
LAYOUT = Layout(devices=64.0, tensor=4.0, zero_stage=1.0, global_batch_size=512.0)


def run() -> Iterator[Figure]:
    """CPU time on one core, medians of several runs."""
    network, accelerator = registry.build(LLAMA), reference.accelerator("h100-sxm")

    def one() -> None:
        job = estimate.prepare(network, Kernels(), accelerator, 1, 8192.0)
        estimate.evaluate(job, LAYOUT, 1e12, SITE, 2.5)
        sizing.verdict(8.0e9, 1e12)

    one()
    yield "one full estimate and its verdict, architecture cached", _each(one, 300) * 1e6, "us"
    yield "first sight of a config, all folds", _each(_first_sight, 20) * 1e3, "ms"
    yield from _sweep(network, accelerator)
    yield from _search()


def _first_sight() -> None:
    for module in (parameters, compute, memory, throughput):
        for name in ("table", "tables", "count", "stages"):
            cached = getattr(module, name, None)
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()
    estimate.prepare.cache_clear()
    network = registry.build(LLAMA)
    parameters.count(network)
    estimate.prepare(network, Kernels(), reference.accelerator("h100-sxm"), 1, 8192.0)


def _sweep(network: Any, accelerator: Any) -> Iterator[Figure]:
    point = sweep.Point(
        estimate.prepare(network, Kernels(), accelerator, 1, 8192.0), LAYOUT, 1e12, SITE, 2.5
    )
    columns: dict[str, Callable[[estimate.Estimate], Any]] = {
        "peak": lambda e: e.peak_bytes.value,
        "hours": lambda e: e.device_hours.value,
        "usd": lambda e: e.usd.value,
        "kg": lambda e: e.total_kgco2e.value,
        "admission": lambda e: e.admission,
    }
    for rows in (10_000, 100_000, 1_000_000):
        grid = _grid(point, rows)
        seconds = _each(lambda grid=grid: sweep.sweep(grid, columns), 3)
        yield f"sweep of {grid.rows:,} rows: million rows a second", grid.rows / seconds / 1e6, ""
    dependent = _each(lambda: sweep.sweep(_dense(point, 1_000_000), columns), 3)
    yield "sweep whose every quantity changes with each row", 1 / dependent, "million rows/s"
    tracemalloc.start()
    found = sweep.sweep(_grid(point, 1_000_000), columns)
    result = sum(column.nbytes for column in found.columns.values())
    yield "memory above the result", (tracemalloc.get_traced_memory()[1] - result) / 2**20, "MiB"
    tracemalloc.stop()


def _grid(point: sweep.Point, rows: int) -> sweep.Grid:
    """Batch sizes by devices by prices by grids: what a buyer sweeps."""
    prices = max(rows // 10_000, 1)
    numbers = (
        sweep.Numbers(0, "layout.global_batch_size", [256.0 * (i + 1) for i in range(10)]),
        sweep.Numbers(1, "layout.devices", [4.0 * (i + 1) for i in range(100)]),
        sweep.Numbers(2, "site.grid", [10.0 * (i + 1) for i in range(10)]),
        sweep.Numbers(3, "usd_per_device_hour", list(np.linspace(1.0, 9.0, prices))),
    )
    return sweep.Grid((10, 100, 10, prices), (), [point], numbers)


def _dense(point: sweep.Point, rows: int) -> sweep.Grid:
    """One long axis that memory, time and all that follows depend on."""
    batches = [float(64 * (i + 1)) for i in range(rows)]
    return sweep.Grid(
        (rows,), (), [point], (sweep.Numbers(0, "layout.global_batch_size", batches),)
    )


def _search() -> Iterator[Figure]:
    network = reference.network("llama-3.1-405b")
    question = search.Question(
        network, Kernels(), reference.accelerator("h100-sxm"), 8192.0, 16_384.0
    )
    space = search.usual_space(question, 16_384)
    terms = search.Terms(15.6e12, SITE, 2.5)
    found: list[search.Found] = []
    seconds = _each(lambda: found.append(search.search(question, terms, space)), 3)
    yield f"layouts of 405B on 16,384 devices ({found[0].considered:,})", seconds * 1e3, "ms"


def _each(action: Callable[[], Any], times: int) -> float:
    """Median CPU seconds of one call over five batches."""
    action()
    batches = []
    for _ in range(5):
        gc.collect()
        start = time.process_time()
        for _ in range(times):
            action()
        batches.append((time.process_time() - start) / times)
    return statistics.median(batches)
