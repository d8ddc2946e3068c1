"""Calibrates the step-time model on measured runs, and tests it on runs that were set aside.

`python -m service.calibration.throughput` writes `service/core/calibration_data/throughput.json`
and prints the back-test; `throughput_fit` says how the coefficients are fitted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.calibration import published_hours
from service.calibration.rows import BacktestRow, summary, table
from service.calibration.throughput_fit import APART, fitted, levels_of
from service.calibration.throughput_rows import Job, jobs
from service.core import estimate, layout_choice, search, throughput
from service.core.throughput.coefficients import document

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
    for name in sorted({levels_of(job)[0] for job in found}):
        kept = [job for job in found if levels_of(job)[0] != name]
        yield kept, [job for job in found if levels_of(job)[0] == name]


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
    return {
        "given_node": {"value": 0.95, "low": 0.80, "high": 1.0},
        "given_cluster": {"value": 0.87, "low": 0.65, "high": 0.95},
        **published_hours.shares(published_hours.runs()),
    }


def intervals() -> dict[str, Any]:
    """Log-ratios of the 90 % interval, from rows set aside by model.

    By generation for dense models, and for mixtures of experts of all generations.
    """
    errors = {job: float(np.log(job.step_seconds / value)) for job, value in set_aside().items()}
    dense = {j: e for j, e in errors.items() if not throughput.has_experts(j.network)}
    found: dict[str, Any] = {}
    for name in sorted({levels_of(job)[0] for job in dense} - {"prior"}):
        found[name] = _bounds({j: e for j, e in dense.items() if levels_of(j)[0] == name})
    found["experts"] = _bounds({j: e for j, e in errors.items() if j not in dense})
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
        low, high = throughput.bounds(job.hardware, throughput.has_experts(job.network))
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
    searches = (*search.caches(), *layout_choice.caches())
    for cached in (document, throughput.coefficients, estimate.prepare, *searches):
        cached.cache_clear()


def main() -> None:
    """Fits, writes and prints the back-test."""
    write()
    print(table(summary(backtest())))


if __name__ == "__main__":
    main()
