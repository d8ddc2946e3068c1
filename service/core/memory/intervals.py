"""The 90 % interval of a peak, from the residuals of measured runs."""

from __future__ import annotations

from service.core.memory.calibration import document
from service.core.memory.peak import MemoryParts
from service.core.uncertainty import Interval, relative


def interval(parts: MemoryParts, evidence: str = "general") -> Interval:
    """The peak with its interval.

    `evidence`: the class of jobs whose residuals apply: `modules`, `fused`, `fine-tuning`,
    `quantised`, or `general` where none of them does.
    """
    classes = document()["intervals"]
    bounds = classes.get(evidence, classes["general"])
    return relative(parts.peak, bounds["low"], bounds["high"])
