"""The core: one estimate, first sight of a config, a sweep of a million rows, a layout search."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from service.calibration import reference
from service.core import estimate, layout_choice, layout_space, search, sweep
from service.core.architecture.families import registry
from service.core.parallelism import Kernels, Layout
from service.core.scaling_laws import sizing
from tests.bench.figures import Figure, cpu_seconds

SITE = estimate.Site(400.0, 1.2)
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
    yield Figure(
        "one full estimate, architecture cached", one_estimate() * 1e6, "us", "at most 100"
    )
    yield Figure("first sight of a config, whole estimate", first_sight() * 1e3, "ms", "at most 2")
    for family in ("mixtral", "deepseek_v3", "gemma2", "qwen3_next", "bert", "t5"):
        seconds = first_sight({"model_type": family})
        yield Figure(f"first sight of a config, {family}", seconds * 1e3, "ms")
    yield from _sweep(network, accelerator)
    yield from _search()


def one_estimate() -> float:
    """CPU seconds of memory, time, money, energy, carbon and the best size of one job."""
    network, accelerator = registry.build(LLAMA), reference.accelerator("h100-sxm")
    tokens = count(1_000_000_000_000)

    def one() -> None:
        _estimated(network, accelerator, float(next(tokens)))

    return cpu_seconds(one, 300)


def _estimated(network: Any, accelerator: Any, tokens: float) -> None:
    job = estimate.prepare(network, Kernels(), accelerator, 1, 8192.0)
    estimate.evaluate(job, LAYOUT, tokens, SITE, 2.5)
    sizing.verdict(8.0e9, tokens)


_sizes = count(32_000, 64)


def first_sight(config: dict[str, Any] = LLAMA) -> float:
    """CPU seconds of a config whose like was never seen: built, folded and estimated."""
    accelerator = reference.accelerator("h100-sxm")

    def one() -> None:
        network = registry.build(config | {"vocab_size": next(_sizes)})
        _estimated(network, accelerator, 1e12)

    return cpu_seconds(one, 10)


COLUMNS: dict[str, Callable[[estimate.Estimate], Any]] = {
    "peak": lambda e: e.peak_bytes.value,
    "hours": lambda e: e.device_hours.value,
    "usd": lambda e: e.spent.usd.value,
    "kg": lambda e: e.spent.total_kgco2e.value,
    "admission": lambda e: e.admission,
}


def _sweep(network: Any, accelerator: Any) -> Iterator[Figure]:
    point = sweep.Point(
        estimate.prepare(network, Kernels(), accelerator, 1, 8192.0), LAYOUT, 1e12, SITE, 2.5
    )
    for rows in (10_000, 100_000, 1_000_000):
        grid = _grid(point, rows)
        seconds = cpu_seconds(lambda grid=grid: sweep.sweep(grid, COLUMNS), 3)
        yield Figure(f"sweep of {grid.rows:,} rows", grid.rows / seconds / 1e6, "million rows/s")
    yield Figure(
        "sweep of 1,000,000 rows whose every quantity changes with each",
        1e-6 / row_seconds(point),
        "million rows/s",
        "at least 2",
    )
    dense = _dense(point, 1_000_000)
    tracemalloc.start()
    found = sweep.sweep(dense, COLUMNS)
    result = sum(column.nbytes for column in found.columns.values())
    above = (tracemalloc.get_traced_memory()[1] - result) / 2**20
    tracemalloc.stop()
    yield Figure("its memory above the result", above, "MiB", "at most 64")


def row_seconds(point: sweep.Point | None = None, rows: int = 1_000_000) -> float:
    """CPU seconds a row of a sweep along an axis that memory, time and the rest depend on."""
    if point is None:
        network, accelerator = registry.build(LLAMA), reference.accelerator("h100-sxm")
        job = estimate.prepare(network, Kernels(), accelerator, 1, 8192.0)
        point = sweep.Point(job, LAYOUT, 1e12, SITE, 2.5)
    grid = _dense(point, rows)
    return cpu_seconds(lambda: sweep.sweep(grid, COLUMNS), 3) / rows


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
    batches = [float(64 * (i + 1)) for i in range(rows)]
    return sweep.Grid(
        (rows,), (), [point], (sweep.Numbers(0, "layout.global_batch_size", batches),)
    )


def _search() -> Iterator[Figure]:
    network, accelerator = reference.network("llama-3.1-405b"), reference.accelerator("h100-sxm")
    question = layout_space.Question(network, Kernels(), accelerator, 8192.0, 16_384.0)
    space = layout_choice.usual_space(question, 16_384)
    terms = search.Terms(15.6e12, SITE, 2.5)
    considered = search.search(question, terms, space).considered
    seconds = cpu_seconds(lambda: search.search(question, terms, space), 3)
    what = f"layouts of 405B on 16,384 devices ({considered:,})"
    yield Figure(what, seconds * 1e3, "ms", "at most 100")
    names = count()

    def unseen() -> None:
        other = replace(network, name=f"unseen-{next(names)}")
        search.search(question._replace(network=other), terms, space)

    yield Figure(f"{what}, a model never seen before", cpu_seconds(unseen) * 1e3, "ms")
