"""How the cost grows: with rows, layers, layouts and the size of the catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from service.api.estimating import Context, estimate
from service.api.requests import EstimateRequest
from service.calibration import reference
from service.catalog.store import Store
from service.catalog.transfer import import_text
from service.core import layout_choice, layout_space, search
from service.core.parallelism import Kernels
from tests.bench.bench_catalog import price_list
from tests.bench.bench_core import LLAMA, SITE, first_sight, row_seconds
from tests.bench.figures import Figure, cpu_seconds
from tests.documents import REQUEST


def run() -> Iterator[Figure]:
    """One axis at a time."""
    for rows in (1_000, 10_000, 100_000, 1_000_000):
        yield Figure(f"sweep, {rows:,} rows: a row", row_seconds(None, rows) * 1e9, "ns")
    for layers in (8, 32, 128, 512):
        yield Figure(
            f"first sight, {layers} layers",
            first_sight(LLAMA | {"num_hidden_layers": layers}) * 1e3,
            "ms",
        )
    yield from _layouts()
    yield from _catalog()


def _layouts() -> Iterator[Figure]:
    network, accelerator = reference.network("llama-3.1-70b"), reference.accelerator("h100-sxm")
    question = layout_space.Question(network, Kernels(), accelerator, 8192.0, 4096.0)
    terms = search.Terms(1e12, SITE, 2.5)
    for devices in (8, 64, 512, 4096):
        space = layout_choice.usual_space(question, devices)
        considered = search.search(question, terms, space).considered
        seconds = cpu_seconds(lambda space=space: search.search(question, terms, space), 3)
        yield Figure(f"layouts on {devices:,} devices ({considered:,})", seconds * 1e3, "ms")


def _catalog() -> Iterator[Figure]:
    request = EstimateRequest.model_validate(REQUEST | {"layout": {"tensor": 4}})
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/catalog.db")
        store.migrate()
        store.seed()
        for rows in (0, 1_000, 100_000):
            if rows:
                import_text(store, "prices", price_list(rows))
            context = Context(store.snapshot)
            seconds = cpu_seconds(lambda context=context: estimate(request, context), 100)
            yield Figure(f"an estimate, {rows:,} prices more", seconds * 1e6, "us")
        store.close()
