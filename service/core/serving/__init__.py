"""Serving a model: memory for weights and caches, concurrency, prefill and decode speed.

`estimate` answers for one job. Below it: `tables` folds a network once, `load` holds how a replica
is spread, loaded and calibrated, `memory` and `speed` are the formulas on floats or arrays,
`calibration` picks the coefficients of an (accelerator, engine) pair and their interval.
"""

from service.core.kv_cache import CACHE_FORMATS, UnknownCacheFormat
from service.core.serving.calibration import ENGINES, Evidence, evidence
from service.core.serving.composition import (
    ServingEstimate,
    ServingJob,
    ServingMemory,
    estimate,
    estimate_table,
)
from service.core.serving.drafting import Draft, Drafting
from service.core.serving.load import Engine, Replica
from service.core.serving.tables import ServingTable, compute_format, table

__all__ = [
    "CACHE_FORMATS",
    "ENGINES",
    "Draft",
    "Drafting",
    "Engine",
    "Evidence",
    "Replica",
    "ServingEstimate",
    "ServingJob",
    "ServingMemory",
    "ServingTable",
    "UnknownCacheFormat",
    "compute_format",
    "estimate",
    "estimate_table",
    "evidence",
    "table",
]
