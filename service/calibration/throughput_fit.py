"""The fit of the step-time model's coefficients to measured runs.

Each coefficient is a shared value times factors for a generation of accelerators, an
implementation, and one accelerator; all are fitted together as log-normal quantities around their
priors (a maximum a posteriori fit with a loss that outliers hardly move), so that what few rows
say of a generation moves it little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from service.calibration.throughput_rows import Job
from service.core import throughput
from service.core.hardware import Device
from service.core.parallelism import Layout
from service.core.throughput.coefficients import Coefficients, ceiling, generation
from service.core.throughput.stages import stack
from service.core.throughput.steptime import StateBytes

Floats = NDArray[np.float64]


class Prior(NamedTuple):
    """What is assumed of a coefficient before any row: a value and log spreads by level."""

    value: float
    shared: float
    generation: float = 0.0
    implementation: float = 0.0
    both: float = 0.0
    """Of one implementation on one generation."""
    accelerator: float = 0.0


PRIORS: Mapping[str, Prior] = {
    "product_efficiency": Prior(0.90, 0.06, 0.12, 0.06, accelerator=0.08),
    "narrow_efficiency": Prior(0.95, 0.10, 0.15),
    "attention_efficiency": Prior(0.45, 0.30, 0.20),
    "memory_efficiency": Prior(0.70, 0.15, 0.15, 0.10),
    "io_share": Prior(0.70, 0.30, 0.20, 0.10),
    "launch_seconds": Prior(1.2e-5, 0.40, both=0.8),
    "inside_efficiency": Prior(0.75, 0.06, 0.06),
    "outside_efficiency": Prior(0.70, 0.06, 0.06),
    "call_seconds": Prior(5e-5, 1.0, 1.2),
    "tensor_exposure": Prior(1.0, 0.05, 0.3),
    "data_exposure": Prior(0.80, 0.15, 0.15),
}

SCALE = 0.07
"""Log error at which the loss turns from quadratic to linear: the noise of a good row."""

WEIGHTS: Mapping[str, float] = {
    "vtrain_single_node": 5.0,
    "vtrain_multi_node": 4.0,
    "simumax_b200": 3.0,
    "bigscience-a100": 0.8,
    "maxtext-tpu": 1.5,
    "korthikanti-2022": 5.0,
    "narayanan-2021": 5.0,
    "llm-foundry": 3.0,
    "megatron-bridge": 3.0,
}
"""Weight of a source as a whole; its rows share it, so that a large table counts for more than a
small one, but not in proportion."""

APART = {
    "torchtitan": "H100 boards limited to 500 W, another accelerator than the catalog's",
    "bert": "LAMB and unfused kernels of 2020; four rows",
}
"""Sources that are tested but not fitted, with the reason."""


class Effect(NamedTuple):
    """One fitted number: the log of a coefficient's shared value, or of a factor on it."""

    name: str
    level: str
    """Empty for the shared value."""
    spread: float
    mean: float


class Rows:
    """Jobs as arrays, ready for the formula."""

    def __init__(self, found: Sequence[Job]) -> None:
        self.jobs = found
        self.stages = stack([_stages(job) for job in found])
        self.layout = _columns(Layout, [_layout(job) for job in found])
        self.device = _columns(Device, [_device(job) for job in found])
        widths = [throughput.state_bytes(job.kernels) for job in found]
        self.widths = StateBytes(*np.array(widths, dtype=np.float64).T)
        self.observed = np.array([job.step_seconds for job in found])
        self.levels = [levels_of(job) for job in found]
        self.ceiling = np.array([ceiling(job.hardware) for job in found])
        counts = Counter(job.source for job in found)
        self.weights = np.array(
            [
                WEIGHTS.get(job.source, 1.0) * (12.0 / max(counts[job.source], 6)) ** 0.5
                for job in found
            ]
        )

    def seconds(self, fitted: Coefficients) -> Floats:
        """Predicted step times."""
        scaled = fitted._replace(product_efficiency=fitted.product_efficiency * self.ceiling)
        parts = throughput.step(self.stages, self.widths, self.layout, self.device, scaled)
        return np.asarray(parts.total_seconds, dtype=np.float64)

    def design(self, effects: Sequence[Effect]) -> dict[str, Floats]:
        """For each coefficient, which effects act on which row."""
        matrices = {}
        for name in Coefficients._fields:
            matrix = np.zeros((len(self.jobs), len(effects)))
            for column, effect in enumerate(effects):
                if effect.name == name:
                    matrix[:, column] = [not effect.level or effect.level in m for m in self.levels]
            matrices[name] = matrix
        return matrices


def _stages(job: Job) -> throughput.Stages:
    pipeline = int(job.layout.get("pipeline", 1))
    return throughput.stages(job.network, job.kernels, pipeline, job.sequence_length)


def _layout(job: Job) -> Layout:
    return Layout(**job.layout)


def _device(job: Job) -> Device:
    return throughput.device(job.hardware, job.kernels.compute_format)


def _columns(kind: type[Any], items: Sequence[Any]) -> Any:
    names = [field.name for field in fields(kind)]
    return kind(**{n: np.array([getattr(i, n) for i in items], dtype=np.float64) for n in names})


def levels_of(job: Job) -> tuple[str, ...]:
    """Generation, implementation, both together, and accelerator of a job."""
    group, implementation = generation(job.hardware), job.kernels.implementation
    return group, implementation, f"{group}.{implementation}", job.accelerator


def effects(found: Sequence[Job]) -> list[Effect]:
    """The numbers to fit: shared values, and factors for what the rows hold."""
    levels = [levels_of(job) for job in found]
    result = []
    for name, prior in PRIORS.items():
        result.append(Effect(name, "", prior.shared, float(np.log(prior.value))))
        for depth, spread in enumerate(prior[2:]):
            if spread:
                result += [Effect(name, level, spread, 0.0) for level in _of(levels, depth)]
    return result


def _of(levels: Sequence[tuple[str, ...]], depth: int) -> list[str]:
    return sorted({level[depth] for level in levels if level[0] != "prior"})


class Fit(NamedTuple):
    """Fitted effects, in order."""

    effects: Sequence[Effect]
    values: Floats

    def coefficients(self, design: Mapping[str, Floats]) -> Coefficients:
        """The coefficients of each row."""
        return Coefficients(**{name: np.exp(m @ self.values) for name, m in design.items()})

    def predict(self, found: Sequence[Job]) -> Floats:
        """Step times of jobs."""
        rows = Rows(found)
        return rows.seconds(self.coefficients(rows.design(self.effects)))


def fitted(found: Sequence[Job]) -> Fit:
    """The fit on some jobs."""
    used = [job for job in found if job.source not in APART]
    rows, terms = Rows(used), effects(used)
    design = rows.design(terms)
    mean = np.array([term.mean for term in terms])
    spread = np.array([term.spread for term in terms])

    def residuals(values: Floats) -> Floats:
        predicted = rows.seconds(Fit(terms, values).coefficients(design))
        error = np.log(predicted / rows.observed) / SCALE
        softened = np.sign(error) * np.sqrt(2.0 * (np.sqrt(1.0 + error**2) - 1.0))
        return np.concatenate([softened * rows.weights, (values - mean) / spread])

    start = mean + np.array([_start(term) for term in terms])
    found_values = least_squares(residuals, start, max_nfev=60).x
    return Fit(terms, np.asarray(found_values, dtype=np.float64))


def _start(term: Effect) -> float:
    """Launch-bound rows pull on the launch time only once it binds; start where it does."""
    return 1.5 if (term.name, term.level) == ("launch_seconds", "ampere.fused") else 0.0
