"""Published runs that a claim about device-hours can be set against."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from service.api.catalog_documents import Precedent
from service.catalog.kinds import ReportFacts
from service.catalog.snapshot import Snapshot
from service.core.claims import factor_between

NEAR = log(1.15)
"""Log-ratio of sizes up to which two models count as of one size."""
SHOWN = 5


def precedents(size: float, claimed_hours: float, snapshot: Snapshot) -> list[Precedent]:
    """Published runs of about this size, the nearest first, and how far they are from the claim."""
    near = [run for run in _runs(snapshot) if abs(log(size / run.parameters)) < NEAR]
    near.sort(key=lambda run: (abs(log(size / run.parameters)), run.report))
    return [
        run.model_copy(update={"factor": factor_between(claimed_hours, run.device_hours)})
        for run in near[:SHOWN]
    ]


def _runs(snapshot: Snapshot) -> Iterator[Precedent]:
    """Runs of known size and hours, read at their source and without contradiction."""
    for fact in snapshot.facts("reports"):
        run = fact.payload
        assert isinstance(run, ReportFacts)
        sound = run.evidence == "read" and not run.anomaly
        if sound and run.parameters and run.device_hours:
            yield Precedent(
                report=fact.name,
                title=run.title,
                parameters=run.parameters,
                device_hours=run.device_hours,
                hardware=run.hardware or run.accelerator or "not stated",
                factor=1.0,
            )
