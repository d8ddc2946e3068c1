"""The 90 % interval of a peak, from the residuals of measured runs."""

from __future__ import annotations

from service.core.memory.calibration import document
from service.core.memory.peak import MemoryParts
from service.core.uncertainty import Interval, relative


def bounds(evidence: str = "general") -> tuple[float, float]:
    """Log-ratios of the 90 % interval to the peak, for a class of jobs."""
    classes = document()["intervals"]
    found = classes.get(evidence, classes["general"])
    return found["low"], found["high"]


def interval(parts: MemoryParts, evidence: str = "general") -> Interval:
    """The peak with its interval.

    `evidence`: the class of jobs whose residuals apply: `modules`, `fused`, `fine-tuning`,
    `quantised`, or `general` where none of them does.
    """
    return relative(parts.peak, *bounds(evidence))
