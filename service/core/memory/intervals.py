"""The 90 % interval of a peak, from the residuals of measured runs."""

from __future__ import annotations

from service.core.memory.calibration import document
from service.core.memory.peak import MemoryParts
from service.core.uncertainty import Interval, relative


def bounds(evidence: str = "general") -> tuple[float, float]:
    """(low, high): log-ratios of the interval's ends to the expected peak.

    `evidence`: the class of jobs whose residuals apply: `modules`, `fused`, `fine-tuning`,
    `quantised`; `general` for any other name.
    """
    classes = document()["intervals"]
    entry = classes.get(evidence, classes["general"])
    return entry["low"], entry["high"]


def interval(parts: MemoryParts, evidence: str = "general") -> Interval:
    """The peak with its interval, by the class of jobs that it belongs to."""
    return relative(parts.peak, *bounds(evidence))
