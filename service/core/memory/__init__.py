"""Peak memory of a training job on one device.

`tables` folds a network once, `per_device` evaluates the formula on floats or arrays,
`worst_stage` finds the pipeline stage that needs most, `interval` says how sure that is.
"""

from service.core.memory.intervals import bounds, interval
from service.core.memory.peak import (
    MemoryParts,
    in_flight,
    overhead,
    per_device,
    stages_that_can_win,
    worst_stage,
)
from service.core.memory.tables import MemoryTable, tables

__all__ = [
    "MemoryParts",
    "MemoryTable",
    "bounds",
    "in_flight",
    "interval",
    "overhead",
    "per_device",
    "stages_that_can_win",
    "tables",
    "worst_stage",
]
