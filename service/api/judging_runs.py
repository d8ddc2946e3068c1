"""Each recorded run beside what its cluster's other runs make of its estimate.

A cluster's runs are dealt into folds, and those of one fold are predicted with the runs of the
others, so that no run is judged by a correction that it had a part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp

from service.api.calibrating import Counted, Quantity, counted, log_ratios, own_correction
from service.api.resolve.caching import Catalog
from service.calibration.rows import BacktestRow
from service.catalog.kinds import RunFacts
from service.catalog.snapshot import Snapshot

FOLDS = 5
MOST_CLUSTERS = 64
"""Those that are judged together: the first by name. One that is asked for is always judged."""


def judged(snapshot: Snapshot, cluster: str | None = None) -> list[BacktestRow]:
    """The runs of a cluster, or of all, by name, fold by fold."""
    known = snapshot.shelves["runs"].by("cluster")
    every = sorted(str(name) for name in known)[:MOST_CLUSTERS]
    names = every if cluster is None else [cluster.strip().lower()]
    return [row for name in names if name in known for row in _cluster(Catalog(snapshot), name)]


@lru_cache(maxsize=2 * MOST_CLUSTERS)
def _cluster(catalog: Catalog, cluster: str) -> tuple[BacktestRow, ...]:
    runs = counted(catalog.snapshot, cluster)
    rows: list[BacktestRow] = []
    for fold in range(FOLDS):
        others = [run for place, run in enumerate(runs) if place % FOLDS != fold]
        for run in runs[fold::FOLDS]:
            rows += [_row(cluster, run, each, others) for each in run.quantities]
    return tuple(rows)


def _row(cluster: str, run: Counted, found: Quantity, others: Sequence[Counted]) -> BacktestRow:
    own = own_correction(log_ratios(others, found.name), found.bounds)
    factor, low, high = (own.factor, own.low, own.high) if own else (1.0, *found.bounds)
    value = factor * found.observed / exp(found.log_ratio)
    content = run.fact.payload
    assert isinstance(content, RunFacts)
    return BacktestRow(
        source=f"runs of {cluster}",
        quantity=found.name,
        case=run.fact.name,
        observed=found.observed,
        value=value,
        low=value * exp(low),
        high=value * exp(high),
        set_aside=not content.published,
        family=run.family,
        accelerator=run.accelerator,
        cluster=cluster,
    )
