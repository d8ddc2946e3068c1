"""Fits the step-time model on measured runs, and tests it on runs that were set aside.

`python -m service.calibration.throughput` writes `service/core/calibration_data/throughput.json`
and prints the back-test. Each coefficient is a shared value times factors for a generation of
accelerators, an implementation, and one accelerator; all are fitted together as log-normal
quantities around their priors (a maximum a posteriori fit with a loss that outliers hardly move),
so that what few rows say of a generation moves it little.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from service.calibration import published_hours
from service.calibration.rows import BacktestRow, summary, table
from service.calibration.throughput_rows import Job, accelerator, jobs
from service.core import estimate, search, throughput
from service.core.hardware import Device
from service.core.parallelism import Layout
from service.core.throughput.coefficients import Coefficients, ceiling, document, generation
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
    "data_overlap": Prior(0.70, 0.15, 0.15, 0.15),
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
        self.levels = [_levels(job) for job in found]
        self.ceiling = np.array([ceiling(accelerator(job.accelerator)) for job in found])
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
    return throughput.device(accelerator(job.accelerator), job.kernels.compute_format)


def _columns(kind: type[Any], items: Sequence[Any]) -> Any:
    names = [field.name for field in fields(kind)]
    return kind(**{n: np.array([getattr(i, n) for i in items], dtype=np.float64) for n in names})


def _levels(job: Job) -> tuple[str, ...]:
    group, implementation = generation(accelerator(job.accelerator)), job.kernels.implementation
    return group, implementation, f"{group}.{implementation}", job.accelerator


def effects(found: Sequence[Job]) -> list[Effect]:
    """The numbers to fit: shared values, and factors for what the rows hold."""
    levels = [_levels(job) for job in found]
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


# --- Parts set aside --------------------------------------------------------------------------


def group_of(job: Job) -> str:
    """Rows of one model in one source are set aside together."""
    return f"{job.source}:{job.network.layers}x{job.network.hidden_size}"


def folds(found: Sequence[Job], count: int = 5) -> Iterator[tuple[list[Job], list[Job]]]:
    """(fitted, set aside) by model: each group of rows is set aside once."""
    groups = sorted({group_of(job) for job in found})
    place = {group: index % count for index, group in enumerate(groups)}
    for fold in range(count):
        kept = [job for job in found if place[group_of(job)] != fold]
        aside = [job for job in found if place[group_of(job)] == fold]
        yield kept, aside


def without_accelerators(found: Sequence[Job]) -> Iterator[tuple[list[Job], list[Job]]]:
    """(fitted, set aside) with one generation left out altogether."""
    for name in sorted({_levels(job)[0] for job in found}):
        kept = [job for job in found if _levels(job)[0] != name]
        yield kept, [job for job in found if _levels(job)[0] == name]


def set_aside(split: Callable[[Sequence[Job]], Any] = folds) -> dict[Job, float]:
    """Step times of all jobs, each predicted by a fit that has not seen it."""
    predicted: dict[Job, float] = {}
    for kept, aside in split(jobs()):
        values = fitted(kept).predict(aside)
        predicted |= dict(zip(aside, map(float, values), strict=True))
    return predicted


# --- The calibration file ---------------------------------------------------------------------


def fit() -> dict[str, Any]:
    """The calibration document."""
    result = fitted(jobs())
    shared: dict[str, float] = {}
    factors: dict[str, dict[str, float]] = {}
    for effect, value in zip(result.effects, result.values, strict=True):
        number = float(f"{np.exp(value):.5g}")
        if effect.level:
            factors.setdefault(effect.level, {})[effect.name] = number
        else:
            shared[effect.name] = number
    kept = {name: document()[name] for name in ("generations", "ceilings")}
    return {
        "id": "throughput-1",
        **kept,
        "shares": document()["shares"],
        "prior": shared,
        "factors": dict(sorted(factors.items())),
        "intervals": intervals(),
        "rows": dict(Counter(job.source for job in jobs() if job.source not in APART)),
        "not_fitted": APART,
    }


def shares() -> dict[str, Any]:
    """Step time over billed hours; see `throughput.billed_factor`."""
    runs = published_hours.runs()
    return {
        "given_node": {"value": 0.95, "low": 0.80, "high": 1.0},
        "given_cluster": {"value": 0.87, "low": 0.65, "high": 0.95},
        "searched_node": published_hours.reached(runs, node=True),
        "searched_cluster": published_hours.reached(runs, node=False),
    }


def intervals() -> dict[str, Any]:
    """Log-ratios of the 90 % interval by generation, from rows set aside by model."""
    errors = {job: float(np.log(job.step_seconds / value)) for job, value in set_aside().items()}
    names = sorted({_levels(job)[0] for job in errors} - {"prior"})
    found: dict[str, Any] = {}
    for name in names:
        found[name] = _bounds({j: e for j, e in errors.items() if _levels(j)[0] == name})
    elsewhere = set_aside(without_accelerators)
    found["general"] = _bounds(
        {job: float(np.log(job.step_seconds / value)) for job, value in elsewhere.items()}
    )
    return found


def _bounds(errors: Mapping[Job, float]) -> dict[str, Any]:
    """The 5 % and 95 % quantiles, each source counting by the root of its rows."""
    counts = Counter(job.source for job in errors)
    values = np.array(list(errors.values()))
    weights = np.array([counts[job.source] ** -0.5 for job in errors])
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - 0.5 * weights[order]) / weights.sum()
    low, high = np.interp([0.05, 0.95], share, values[order])
    return {
        "low": round(min(float(low), -0.02), 3),
        "high": round(max(float(high), 0.02), 3),
        "rows": len(values),
    }


# --- The back-test ----------------------------------------------------------------------------


def backtest() -> list[BacktestRow]:
    """Every measured row beside the estimate of a fit that had not seen its model."""
    aside = set_aside()
    rows = []
    for job in jobs():
        low, high = throughput.bounds(accelerator(job.accelerator))
        value = aside[job]
        rows.append(
            BacktestRow(
                job.source,
                "step_seconds",
                job.case,
                job.step_seconds,
                value,
                value * float(np.exp(low)),
                value * float(np.exp(high)),
                set_aside=True,
                family=job.network.model_type,
                accelerator=job.accelerator,
            )
        )
    return rows + published_hours.backtest()


def write(path: Path | None = None) -> None:
    """Fits again and writes the calibration file.

    First the coefficients, then the shares that published runs reached of what they call best.
    """
    target = path or Path(throughput.__path__[0]).parent / "calibration_data" / "throughput.json"
    fitted_terms = fit()
    _save(target, fitted_terms)
    _save(target, fitted_terms | {"shares": shares()})


def _save(target: Path, content: Mapping[str, Any]) -> None:
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for cached in (document, throughput.coefficients, estimate.prepare, *search.caches()):
        cached.cache_clear()


def main() -> None:
    """Fits, writes and prints the back-test."""
    write()
    print(table(summary(backtest())))


if __name__ == "__main__":
    main()
