"""What a benchmark yields, and how a duration is measured."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

BATCHES = 5


class Figure(NamedTuple):
    """One line of the report."""

    what: str
    value: float
    unit: str = ""
    target: str = ""
    """What the project aims at; lines that have one stand in the README."""


def cpu_seconds(action: Callable[[], Any], times: int = 1) -> float:
    """Median CPU seconds of one call over five batches, after a first call."""
    action()
    return statistics.median(_batch(action, times) for _ in range(BATCHES))


def _batch(action: Callable[[], Any], times: int) -> float:
    gc.collect()
    gc.freeze()  # as the service does: what was measured before is not looked through again
    start = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - start) / times
