"""What /metrics tells. Labels are route templates and coded words, never what a caller sent.

model_sizing_requests_total{method,route,status}    finished requests
model_sizing_request_seconds{route}                 how long they took
model_sizing_estimates_total{model,admission}       estimates by kind of model and verdict
model_sizing_catalog_revision                       revision of the snapshot that answers
model_sizing_catalog_snapshot_age_seconds           since the snapshot was known to be the newest
model_sizing_database_up                            whether the database answered last time
model_sizing_database_connections                   connections of the pool that are in use
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy.pool import Pool, QueuePool

from service.catalog.errors import StoreUnavailable
from service.catalog.store import Store

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


def connections(pool: Pool) -> float:
    """How many connections are in use; 0 for a pool that keeps none."""
    return float(pool.checkedout()) if isinstance(pool, QueuePool) else 0.0


class Metrics:
    """The counters of one application."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "model_sizing_requests",
            "Finished requests",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "model_sizing_request_seconds",
            "Time to answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._estimates = Counter(
            "model_sizing_estimates",
            "Estimates by kind of model and verdict",
            ("model", "admission"),
            registry=self.registry,
        )
        self._children: dict[tuple[str, ...], Any] = {}
        ProcessCollector(registry=self.registry)
        self._watch(store)

    def _watch(self, store: Store) -> None:
        def revision() -> float:
            try:
                return float(store.snapshot.revision)
            except StoreUnavailable:
                return 0.0

        self._gauge("catalog_revision", "Revision of the snapshot", revision)
        self._gauge(
            "catalog_snapshot_age_seconds",
            "Since the snapshot was known to be the newest",
            lambda: store.health.age_seconds,
        )
        self._gauge(
            "database_up",
            "Whether the database answered last time",
            lambda: float(not store.health.problem),
        )
        self._gauge(
            "database_connections",
            "Connections of the pool that are in use",
            lambda: connections(store.engine.pool),
        )

    def _gauge(self, name: str, text: str, read: Any) -> None:
        Gauge(f"model_sizing_{name}", text, registry=self.registry).set_function(read)

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self._child(self._requests, method, route, str(status)).inc()
        self._child(self._seconds, route).observe(seconds)

    def estimate(self, model: str, admission: str) -> None:
        """Count an estimate."""
        self._child(self._estimates, model, admission).inc()

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
