"""What a cluster's recorded runs say: observed over predicted, by the code that answers requests.

The prediction of a run is the general one of its own request, kept until another fact than a run
changes; so a posted run costs one prediction, and an estimate that names the cluster none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
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


class Quantity(NamedTuple):
    """One figure of a run: what was observed over what is predicted."""

    name: str
    """`peak_bytes`, `step_seconds` or `energy_kwh`; throughput and hours are told as a step."""
    observed: float
    log_ratio: float
    bounds: Bounds
    """Log-ratios of the general 90 % interval."""


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


class Counted(NamedTuple):
    """A run that says something."""

    fact: Fact
    family: str
    accelerator: str
    quantities: tuple[Quantity, ...]

    def log_ratio(self, name: str) -> float | None:
        """Of a quantity; None where the run did not observe it."""
        return next((each.log_ratio for each in self.quantities if each.name == name), None)


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
    runs = counted(catalog.snapshot, cluster)
    return Evidence(
        log_ratios(runs, "peak_bytes"),
        log_ratios(runs, "step_seconds"),
        log_ratios(runs, "energy_kwh"),
        _identity(cluster, [run.fact for run in runs]) if runs else "",
    )


def log_ratios(runs: Iterable[Counted], name: str) -> tuple[float, ...]:
    """What the runs that observed a quantity say of it."""
    found = (run.log_ratio(name) for run in runs)
    return tuple(ratio for ratio in found if ratio is not None)


def counted(snapshot: Snapshot, cluster: str) -> list[Counted]:
    """The newest runs of a cluster that can be compared, oldest first."""
    facts = snapshot.shelves["runs"].by("cluster").get(cluster, ())
    newest = sorted(facts, key=lambda fact: (fact.recorded_at, fact.name))[-MOST_RUNS:]
    reference = _Reference(snapshot)
    found = [(fact, _compared(fact.payload.text(), reference)) for fact in newest]
    return [Counted(fact, *told) for fact, told in found if told is not None]


_Told = tuple[str, str, tuple[Quantity, ...]]


def _identity(cluster: str, facts: list[Fact]) -> str:
    sha = hashlib.sha256()
    for fact in facts:
        sha.update(f"{fact.name}\n{fact.version}\n{fact.payload.text()}\n".encode())
    return f"{cluster}:{len(facts)}:{sha.hexdigest()[:12]}"


@lru_cache(maxsize=8192)
def _compared(text: str, reference: _Reference) -> _Told | None:
    """Family, accelerator and quantities of a run; None where nothing can be compared now."""
    run = RunFacts.model_validate_json(text)
    try:
        request = EstimateRequest.model_validate(run.request)
        found = predicted(request, reference.snapshot)
    except (ValidationError, ProblemError, CatalogError):
        return None
    if found is None:
        return None
    quantities = tuple(_quantities(run, found))
    job = found.job
    return (job.network.model_type, job.accelerator.name, quantities) if quantities else None


def _quantities(run: RunFacts, found: Prediction) -> Iterator[Quantity]:
    general, seen, estimate = prepared(found.job), run.observed, found.estimate
    if seen.peak_bytes is not None:
        ratio = log(seen.peak_bytes / estimate.peak_bytes.value)
        yield Quantity("peak_bytes", seen.peak_bytes, ratio, general.memory_bounds)
    time, power = _time(run, found), _power(run, found)
    if time is not None:
        step = estimate.step_seconds.value * exp(time)
        yield Quantity("step_seconds", step, time, general.time_bounds)
    if power is not None and seen.energy_kwh is not None:
        yield Quantity("energy_kwh", seen.energy_kwh, power, _power_bounds(general))


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
    return log(run.observed.energy_kwh / at_that_time.spent.energy.total_kwh.value)


def corrections(found: Evidence, general: Prepared) -> Corrections:
    """How a job that runs on the cluster is corrected."""
    return Corrections(
        own_correction(found.memory, general.memory_bounds),
        own_correction(found.time, general.time_bounds),
        own_correction(found.power, _power_bounds(general)),
    )


def _power_bounds(general: Prepared) -> Bounds:
    power = general.power_residual
    return log(power.low / power.value), log(power.high / power.value)


@lru_cache(maxsize=1024)
def own_correction(ratios: tuple[float, ...], bounds: Bounds) -> Correction | None:
    """The correction from a cluster's log-ratios; None without any."""
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
