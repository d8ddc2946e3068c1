"""What a cluster's recorded runs say: observed over predicted, by the code that answers requests.

The prediction of a run is the general one of its own request, kept until another fact than a run
changes; so a posted run costs one prediction, and an estimate that names the cluster none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

from pydantic import ValidationError

from service.api.evaluating import GENERAL, evaluated, prepared
from service.api.problems import ProblemError
from service.api.request_models import SafetensorsModel
from service.api.request_workloads import InferenceWorkload
from service.api.requests import EstimateRequest
from service.api.resolve import models, places, training
from service.api.resolve.caching import Catalog
from service.api.resolve.ledger import Ledger
from service.api.resolve.models import Size
from service.api.resolve.training import TrainingJob
from service.catalog.errors import CatalogError
from service.catalog.facts import Fact
from service.catalog.kinds import RunFacts
from service.catalog.snapshot import Snapshot
from service.core.cluster_calibration import Correction, Corrections, correction
from service.core.estimate import Estimate, Prepared

MOST_RUNS = 400
"""The newest runs of a cluster that count."""
Bounds = tuple[float, float]


class Ratios(NamedTuple):
    """Logs of observed over predicted; None where a run did not observe the quantity."""

    memory: float | None = None
    time: float | None = None
    power: float | None = None


class Evidence(NamedTuple):
    """What the runs of a cluster say together."""

    memory: tuple[float, ...]
    time: tuple[float, ...]
    power: tuple[float, ...]
    id: str
    """The cluster, how many runs counted, and a digest of them; empty where none did."""


class Prediction(NamedTuple):
    """The general answer for a run's request."""

    job: TrainingJob
    place: places.Place
    estimate: Estimate
    whole_job: bool
    """Whether the request says how much was trained, so that hours and energy compare."""


class _Reference:
    """A catalog without its runs, as a cache key: equal while no other fact has changed."""

    __slots__ = ("snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def _shelves(self) -> list[int]:
        return [id(shelf) for kind, shelf in self.snapshot.shelves.items() if kind != "runs"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reference) and self._shelves() == other._shelves()

    def __hash__(self) -> int:
        return hash(tuple(self._shelves()))


def evidence(snapshot: Snapshot, cluster: str) -> Evidence:
    """What the runs of a cluster in this catalog say."""
    return _evidence(Catalog(snapshot), cluster.strip().lower())


@lru_cache(maxsize=256)
def _evidence(catalog: Catalog, cluster: str) -> Evidence:
    snapshot = catalog.snapshot
    facts = snapshot.shelves["runs"].by("cluster").get(cluster, ())
    newest = sorted(facts, key=lambda fact: (fact.recorded_at, fact.name))[-MOST_RUNS:]
    reference = _Reference(snapshot)
    counted = [(fact, _ratios(fact.payload.text(), reference)) for fact in newest]
    counted = [(fact, ratios) for fact, ratios in counted if any(r is not None for r in ratios)]
    return Evidence(
        tuple(ratios.memory for _, ratios in counted if ratios.memory is not None),
        tuple(ratios.time for _, ratios in counted if ratios.time is not None),
        tuple(ratios.power for _, ratios in counted if ratios.power is not None),
        _identity(cluster, [fact for fact, _ in counted]) if counted else "",
    )


def _identity(cluster: str, counted: list[Fact]) -> str:
    sha = hashlib.sha256()
    for fact in counted:
        sha.update(f"{fact.name}\n{fact.version}\n{fact.payload.text()}\n".encode())
    return f"{cluster}:{len(counted)}:{sha.hexdigest()[:12]}"


@lru_cache(maxsize=8192)
def _ratios(text: str, reference: _Reference) -> Ratios:
    """The ratios of one run; none where its request cannot be answered now."""
    run = RunFacts.model_validate_json(text)
    try:
        request = EstimateRequest.model_validate(run.request)
        found = predicted(request, reference.snapshot)
    except (ValidationError, ProblemError, CatalogError):
        return Ratios()
    if found is None:
        return Ratios()
    seen = run.observed
    peak = seen.peak_bytes and log(seen.peak_bytes / found.estimate.peak_bytes.value)
    return Ratios(peak, _time(run, found), _power(run, found))


def predicted(request: EstimateRequest, snapshot: Snapshot) -> Prediction | None:
    """The general answer for a training request; None for what has no training job.

    Raises ProblemError and CatalogError.
    """
    ledger = Ledger()
    network = models.resolve(snapshot, request.model, ledger)
    workload = request.workload
    if isinstance(network, Size) or isinstance(request.model, SafetensorsModel):
        return None
    if isinstance(workload, InferenceWorkload):
        return None
    name = request.hardware.accelerator if request.hardware else None
    accelerator = places.accelerator(snapshot, name, ledger)
    job = training.resolve(network, request, accelerator, ledger)
    place = places.place(snapshot, request.site, ledger)
    stated = workload is not None and workload.tokens is not None
    return Prediction(job, place, evaluated(job, place, None), stated)


def _time(run: RunFacts, found: Prediction) -> float | None:
    """From the step itself where it was observed, else from throughput, else from hours."""
    seen, general = run.observed, found.estimate
    if seen.step_seconds is not None:
        return log(seen.step_seconds / general.step_seconds.value)
    if seen.tokens_per_second is not None:
        together = general.tokens_per_second_per_device.value * found.job.layout.devices
        return log(together / seen.tokens_per_second)
    return _hours(run, found)


def _hours(run: RunFacts, found: Prediction) -> float | None:
    if run.observed.device_hours is None or not found.whole_job:
        return None
    return log(run.observed.device_hours / found.estimate.device_hours.value)


def _power(run: RunFacts, found: Prediction) -> float | None:
    """Energy over what is predicted for as many device-hours as the run took."""
    hours = _hours(run, found)
    time = _time(run, found) if hours is None else hours
    if run.observed.energy_kwh is None or not found.whole_job or time is None:
        return None
    taken = Corrections(time=Correction(exp(time), 0.0, 0.0, 1))
    at_that_time = evaluated(found.job, found.place, None, taken)
    return log(run.observed.energy_kwh / at_that_time.energy.total_kwh.value)


def corrections(found: Evidence, general: Prepared) -> Corrections:
    """How a job that runs on the cluster is corrected."""
    power = general.power_residual
    power_bounds = log(power.low / power.value), log(power.high / power.value)
    return Corrections(
        _correction(found.memory, general.memory_bounds),
        _correction(found.time, general.time_bounds),
        _correction(found.power, power_bounds),
    )


@lru_cache(maxsize=1024)
def _correction(ratios: tuple[float, ...], bounds: Bounds) -> Correction | None:
    return correction(ratios, bounds) if ratios else None


WITHOUT_RUNS = "cluster-without-runs"
_WHAT = {"memory": "peak memory", "time": "step time", "power": "power"}


def correcting(
    snapshot: Snapshot, cluster: str | None, ledger: Ledger
) -> Callable[[TrainingJob], Corrections]:
    """What corrects the jobs of a request; a cluster without runs corrects nothing, and says so."""
    found = evidence(snapshot, cluster) if cluster is not None else None
    if found is not None and not found.id:
        message = f"no recorded run of cluster {cluster!r} can be compared"
        ledger.warn(WITHOUT_RUNS, f"{message}: the general model stands")
    if found is None or not found.id:
        return lambda job: GENERAL
    ledger.runs = found.id
    return lambda job: corrections(found, prepared(job))


def explain_unused(cluster: str | None, ledger: Ledger) -> None:
    """Say so where a cluster was named for an answer that its runs do not correct."""
    told = ledger.runs or any(warning.code == WITHOUT_RUNS for warning in ledger.warnings)
    if cluster is not None and not told:
        message = "runs correct training jobs of models with an architecture, and no other answer"
        ledger.warn("cluster-not-used", message)


def explain(own: Corrections, cluster: str | None, ledger: Ledger) -> None:
    """Record the factors among the assumptions."""
    for name, found in _known(own):
        runs = f"{found.runs} run{'' if found.runs == 1 else 's'}"
        source = f"{_WHAT[name]}: factor on the general model from {runs} of cluster {cluster}"
        ledger.assume("/cluster", round(found.factor, 6), "calibration", source)


def _known(own: Corrections) -> Iterator[tuple[str, Correction]]:
    for name, found in own._asdict().items():
        if found is not None:
            yield name, found
