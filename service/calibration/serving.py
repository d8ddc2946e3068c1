"""Fits the serving model on measured rows, takes its intervals from left-out errors, tests it.

`python -m service.calibration.serving` writes `service/core/calibration_data/serving.json` and
prints the back-test. Rows are predicted by fits that had not seen their model on that accelerator
and engine, their accelerator, or their engine; intervals come from those errors, and a row's own
model never informs the interval that it is judged by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from service.calibration import serving_first_token, serving_memory
from service.calibration.rows import BacktestRow, summary, table
from service.calibration.serving_pool import Array, Pool, Stacked, centre
from service.calibration.serving_rows import Row, first_token_rows, rows
from service.core.serving.calibration import FITTED, LEVELS, SHARES
from service.core.uncertainty import LEVEL

INTERVAL_OF: Mapping[str, str] = {
    "decode": "step",
    "request": "step",
    "saturated": "step",
    "prefill": "prefill",
    "first_token": "first_token",
}
"""Which interval judges a quantity."""
SOURCE = "serving: "
"""What the source of every back-test row of serving begins with."""
OWN_INTERVAL = 20
"""Left-out rows that a pair, or an engine at a level, needs before its interval is its own."""
OWN_ACCELERATORS = 2
"""Accelerators that an engine's rows must come from before they speak for its other ones."""
SIGNED_FROM_MODELS = 3
"""Models that errors must come from before an interval may lean to one side."""
MOST_WIDENED = 2.0
"""No interval is widened beyond this for models that differ from each other."""
_UNITS: Mapping[str, str] = {
    "decode": "seconds_per_output_token",
    "request": "request_seconds_per_output_token",
    "saturated": "saturated_seconds_per_output_token",
    "prefill": "prefill_seconds",
    "first_token": "first_token_seconds",
}
_LEFT_OUT: Mapping[str, str] = {
    "pair": "model left out",
    "engine": "accelerator left out",
    "none": "engine left out",
}

_LIKE: Mapping[str, Callable[[Row], str]] = {
    "pair": lambda row: row.model,
    "engine": lambda row: row.accelerator,
    "none": lambda row: row.engine,
}
"""What a row shares with those that may not inform its interval, by the level it is judged at."""


class Judged(NamedTuple):
    """A row that a fit without it has predicted."""

    row: Row
    error: float
    """log(predicted / observed)."""
    level: str
    """What of its accelerator and engine the fit knew."""


def left_out(measured: Sequence[Row], pool: Pool, blocks: Array) -> list[Judged]:
    """Each fitted row, predicted by fits without its model, its accelerator and its engine."""
    start = dict(zip(pool.keys, blocks, strict=True))
    keys: tuple[Callable[[Row], str], ...] = (
        lambda row: f"{row.pair} {row.model}",
        lambda row: row.accelerator,
        lambda row: row.engine,
    )
    fitted = [row for row in measured if row.use == "fit"]
    found = [judged for key in keys for judged in _without(fitted, key, start)]
    aside = [row for row in measured if row.use != "fit"]
    return found + _judge(aside, pool, blocks)


def _without(
    fitted: Sequence[Row], key: Callable[[Row], str], start: Mapping[tuple[int, str], Array]
) -> Iterable[Judged]:
    for value in sorted({key(row) for row in fitted}):
        pool = Pool([row for row in fitted if key(row) != value])
        yield from _judge([row for row in fitted if key(row) == value], pool, pool.fit(start))


def _judge(left: Sequence[Row], pool: Pool, blocks: Array) -> list[Judged]:
    errors = Stacked(left).errors(pool.vectors(blocks, left))
    return [
        Judged(row, float(error), pool.level(row)) for row, error in zip(left, errors, strict=True)
    ]


def intervals(judged: Sequence[Judged]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Bounds by level, quantity and what they are of: a pair, an engine or, for others, `any`."""
    return {
        level: {
            quantity: _bounds_by_name([j for j in judged if _belongs(j, level, quantity)], level)
            for quantity in ("step", "prefill")
        }
        for level in LEVELS
    }


def _belongs(judged: Judged, level: str, quantity: str) -> bool:
    row = judged.row
    return row.use != "shown" and judged.level == level and INTERVAL_OF[row.quantity] == quantity


def _bounds_by_name(judged: Sequence[Judged], level: str) -> dict[str, list[float]]:
    if level == "none":
        return {"any": _rounded_pair(_enveloped(judged))}
    own = {name: _own(judged, name) for name in sorted(_names(judged))}
    known = {name: _rounded_pair(_widened(rows)) for name, rows in own.items() if rows}
    return {"any": _rounded_pair(_widened(judged)), **known}


def _names(judged: Sequence[Judged]) -> set[str]:
    return {j.row.engine for j in judged} | {j.row.pair for j in judged if j.level == "pair"}


def _own(judged: Sequence[Judged], name: str) -> Sequence[Judged]:
    """The rows of a pair or an engine, where they are enough for an interval."""
    own = [j for j in judged if name in (j.row.pair, j.row.engine)]
    several = len({j.row.accelerator for j in own}) >= OWN_ACCELERATORS
    speaks = several or all(name == j.row.pair for j in own)
    return own if len(own) >= OWN_INTERVAL and speaks else []


def _enveloped(judged: Sequence[Judged]) -> tuple[float, float]:
    """Bounds that hold nine in ten rows of each engine: the next one may be like any of them."""
    engines = sorted({j.row.engine for j in judged})
    each = [_bounds([j for j in judged if j.row.engine == engine]) for engine in engines]
    return min(low for low, _ in each), max(high for _, high in each)


def _widened(judged: Sequence[Judged]) -> tuple[float, float]:
    """The bounds, widened until they hold nine in ten rows unlike those that informed them."""
    (low, high), (lower, upper) = _bounds(judged), widening(judged)
    return low * lower, high * upper


def widening(judged: Sequence[Judged]) -> tuple[float, float]:
    """By what each bound from the other rows has to grow to hold 95 % of those of one kind.

    Rows of one model err together, and so do those of an accelerator that was left out: quantiles
    over rows alone are too narrow for another one. Kinds count equally, however many rows they
    have. `judged` are of one level.
    """
    needed: list[tuple[float, float, float]] = []
    like = _LIKE[judged[0].level]
    for kind in sorted({like(j.row) for j in judged}):
        others = [j for j in judged if like(j.row) != kind]
        low, high = _bounds(others or judged)
        own = [j.error for j in judged if like(j.row) == kind]
        for error in own:
            lower, upper = max(error, 0.0) / max(-low, 1e-3), max(-error, 0.0) / max(high, 1e-3)
            needed.append((lower, upper, 1.0 / len(own)))
    lower_each, upper_each, weights = np.array(needed).T
    return _growth(lower_each, weights), _growth(upper_each, weights)


def _growth(needed: Array, weights: Array) -> float:
    return min(max(_quantile(needed, weights, (1.0 + LEVEL) / 2.0), 1.0), MOST_WIDENED)


def _bounds(judged: Sequence[Judged]) -> tuple[float, float]:
    """Log-ratios around a prediction that hold nine in ten of the observations.

    Engines count equally, however many rows they have. Both sides are made equal where the errors
    are of fewer than three models: two that err in one direction say nothing of a third.
    """
    ratios = np.array([-j.error for j in judged])
    engines, counts = np.unique([j.row.engine for j in judged], return_counts=True)
    share = dict(zip(engines, 1.0 / counts, strict=True))
    weights = np.array([share[j.row.engine] for j in judged])
    if len({j.row.model for j in judged}) < SIGNED_FROM_MODELS:
        half = _quantile(np.abs(ratios), weights, LEVEL)
        return -half, half
    tail = (1.0 - LEVEL) / 2.0
    low, high = _quantile(ratios, weights, tail), _quantile(ratios, weights, 1.0 - tail)
    return min(low, 0.0), max(high, 0.0)


def _quantile(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(reached, share - 1e-9)])


def fit() -> tuple[dict[str, Any], list[Judged]]:
    """The calibration document, and the rows judged by fits without them."""
    measured = rows()
    fitted = [row for row in measured if row.use == "fit"]
    pool = Pool(fitted)
    blocks = pool.fit()
    judged = left_out(measured, pool, blocks)
    first_token, waited = _first_token(pool, blocks)
    named = {
        name: {
            key: _rounded(blocks[place])
            for (number, key), place in pool.index.items()
            if number == level
        }
        for level, name in enumerate(("engines", "kernels", "generations", "pairs"), start=1)
    }
    document = {
        "id": "serving-1",
        "fitted_by": "python -m service.calibration.serving",
        "fitted_on": sorted({row.source for row in fitted}),
        "rows": len(fitted),
        "coefficients": list(FITTED),
        "scale": f"the first {len(SHARES)} are logits of shares, the rest natural logarithms",
        "common": _rounded(centre() + blocks[0]),
        **named,
        "intervals": intervals(judged),
        "peak": _rounded_pair(serving_memory.bounds(serving_memory.rows())),
        "first_token": first_token,
    }
    return document, [*judged, *waited]


def _first_token(pool: Pool, blocks: Array) -> tuple[dict[str, Any], list[Judged]]:
    measured = first_token_rows()
    parts = serving_first_token.terms(measured, pool, blocks)
    observed = np.array([row.observed for row in measured])
    named = np.array([row.engine for row in measured])
    judged = [
        Judged(row, error, "pair") for row, error in serving_first_token.errors(measured, parts)
    ]
    found = {
        "common": _rounded(serving_first_token.fit(parts, observed)),
        "engines": {
            str(engine): _rounded(
                serving_first_token.fit(parts[named == engine], observed[named == engine])
            )
            for engine in np.unique(named)
        },
        "intervals": _bounds_by_name(judged, "pair"),
    }
    return found, judged


def backtest() -> list[BacktestRow]:
    """Every judged row; its interval from the other models' rows of its level and engine."""
    return backtest_rows(fit()[1])


def backtest_rows(judged: Sequence[Judged]) -> list[BacktestRow]:
    """The judged rows beside their estimates."""
    cached: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    found = []
    for item in judged:
        key = (item.level, INTERVAL_OF[item.row.quantity], item.row.pair, item.row.model)
        if key not in cached:
            cached[key] = _bounds_of_others(judged, item)
        found.append(_backtest_row(item, cached[key]))
    return found


def _bounds_of_others(judged: Sequence[Judged], item: Judged) -> tuple[float, float]:
    """The interval of a row's level without the rows like it; the widening is that of all.

    Like it are those of its model; of an accelerator left out those of the accelerator, of an
    engine those of the engine. They count only where there are no others.
    """
    group = _informing(judged, item)
    like = _LIKE[item.level](item.row)
    others = [j for j in group if _LIKE[item.level](j.row) != like] or group
    if item.level == "none":
        return _enveloped(others)
    low, high = _bounds(others)
    lower, upper = widening(group)
    return low * lower, high * upper


def _informing(judged: Sequence[Judged], item: Judged) -> Sequence[Judged]:
    """The rows that the interval of a row rests on, as `own_bounds` of the core picks them."""
    quantity = INTERVAL_OF[item.row.quantity]
    known = [j for j in judged if _belongs(j, item.level, quantity)]
    if item.level == "none":
        return known
    for name in (item.row.pair, item.row.engine):
        own = _own([j for j in known if name in _names([j])], name)
        if own:
            return own
    elsewhere = [j for j in judged if _belongs(j, "engine", quantity)]
    measured = item.level == "engine" or _own(elsewhere, item.row.engine)
    return known if measured or not elsewhere else elsewhere


def _backtest_row(judged: Judged, bounds: tuple[float, float]) -> BacktestRow:
    row = judged.row
    value = row.observed * float(np.exp(judged.error))
    left = _LEFT_OUT[judged.level] if row.use == "fit" else "not fitted"
    return BacktestRow(
        source=f"{SOURCE}{row.engine}, {left}",
        quantity=_UNITS[row.quantity],
        case=f"{row.model} {row.weights} {row.accelerator} x{row.replica.devices:g} "
        f"{row.replica.prompt_tokens:g}+{row.replica.output_tokens:g} "
        f"batch {row.replica.batch:g}",
        observed=row.observed,
        value=value,
        low=value * float(np.exp(bounds[0])),
        high=value * float(np.exp(bounds[1])),
        set_aside=True,
        family=row.model,
        accelerator=row.accelerator,
    )


def pair_and_what_was_left_out(row: BacktestRow) -> str:
    """The group of a back-test row of serving: `h100-sxm, vllm: engine left out`."""
    engine, left = row.source.removeprefix(SOURCE).split(", ")
    return f"{row.accelerator}, {engine}: {left}"


def _rounded_pair(bounds: tuple[float, float]) -> list[float]:
    return [round(bound, 4) for bound in bounds]


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


def write(document: Mapping[str, Any], path: Path | None = None) -> None:
    """Write the coefficients file."""
    target = path or Path(str(files("service.core"))) / "calibration_data" / "serving.json"
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Fit, write and print the back-test."""
    fresh, judged = fit()
    write(fresh)
    print(table(summary(backtest_rows(judged), lambda row: f"{row.source}: {row.quantity}")))


if __name__ == "__main__":
    main()
