"""What made an answer: the program's version, the catalog's state, the fitted coefficients."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from service import __version__
from service.api.responses import Provenance
from service.catalog.snapshot import Snapshot
from service.core.uncertainty import LEVEL


@cache
def calibration_id() -> str:
    """Names the calibration files by their content."""
    sha = hashlib.sha256()
    folder = files("service.core").joinpath("calibration_data")
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if item.name.endswith(".json"):
            sha.update(item.name.encode() + item.read_bytes())
    return sha.hexdigest()[:12]


def provenance(snapshot: Snapshot, runs: str = "") -> Provenance:
    """The provenance of an answer out of this catalog; `runs`: those that corrected it."""
    return Provenance(
        estimator=__version__,
        catalog=snapshot.id,
        calibration=f"{calibration_id()}+{runs}" if runs else calibration_id(),
        interval=LEVEL,
    )
