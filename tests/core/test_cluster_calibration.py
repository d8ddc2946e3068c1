"""A cluster's factor, learnt from simulated runs whose truth is known."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from service.core import cluster_calibration
from service.core.cluster_calibration import Correction, correction

GENERAL = (-0.30, 0.55)
"""Log-ratios of a general 90 % interval, as the step time of a known generation has."""
FACTORS = (0.6, 1.0, 1.3)
CLUSTERS = 500


def simulated(factor: float, runs: int, noise: float = 0.05, seed: int = 1) -> list[float]:
    draws = np.random.default_rng(seed).normal(math.log(factor), noise, runs)
    return [float(draw) for draw in draws]


def holds(found: Correction, log_ratio: float) -> bool:
    return found.low <= log_ratio - math.log(found.factor) <= found.high


def test_without_runs_the_general_model_stands() -> None:
    assert correction([], GENERAL) == (1.0, *GENERAL, 0)


@pytest.mark.parametrize("noise", [0.03, 0.05, 0.1])
@pytest.mark.parametrize("factor", FACTORS)
def test_twenty_runs_own_the_answer_and_the_interval_holds_nine_in_ten(
    factor: float, noise: float
) -> None:
    errors, held = [], 0
    for seed in range(CLUSTERS):
        *seen, following = simulated(factor, 21, noise, seed)
        found = correction(seen, GENERAL)
        errors.append(abs(found.factor / factor - 1.0))
        held += holds(found, following)
    assert 0.86 <= held / CLUSTERS <= 0.94
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.95) < 0.5 * noise


@pytest.mark.parametrize("factor", FACTORS)
def test_one_run_moves_the_answer_a_little_and_the_interval_still_covers(factor: float) -> None:
    held = 0
    for seed in range(100):
        seen, following = simulated(factor, 2, seed=seed)
        found = correction([seen], GENERAL)
        held += holds(found, following)
        assert abs(math.log(found.factor)) <= 0.75 * abs(seen) + 0.003
    assert held >= 90


@pytest.mark.parametrize("absurd", [10.0, 0.1, 1e30])
@pytest.mark.parametrize("factor", FACTORS)
def test_one_absurd_run_among_twenty_moves_the_answer_by_less_than_5_percent(
    factor: float, absurd: float
) -> None:
    seen = simulated(factor, 20)
    wrecked = [*seen[:-1], seen[-1] + math.log(absurd)]
    moved = correction(wrecked, GENERAL).factor / correction(seen, GENERAL).factor
    assert abs(moved - 1.0) < 0.05


def test_a_cluster_of_which_some_runs_are_far_slower_is_told_by_the_others() -> None:
    """Three runs of ten in a congested hour; the factor is that of the other seven."""
    for seed in range(20):
        usual, late = simulated(0.8, 14, 0.03, seed), simulated(1.2, 6, 0.2, seed)
        assert correction([*usual, *late], GENERAL).factor == pytest.approx(0.8, rel=0.04)


@pytest.mark.parametrize("shape", cluster_calibration._SHAPES)
def test_the_shapes_of_scatter_are_distributions(shape: Any) -> None:
    for low, high in ((-4.0, 0.0), (0.0, 4.0)):
        where = np.linspace(low, high, 8001)
        between = np.trapezoid(np.exp(shape.log_density(where)), where)
        assert between == pytest.approx(shape.below(where[-1]) - shape.below(where[0]), abs=1e-6)
    assert shape.below(np.array(-1e9)) == pytest.approx(0.0, abs=1e-6)
    assert shape.below(np.array(1e9)) == pytest.approx(1.0, abs=1e-6)


def test_a_cluster_whose_runs_are_late_rather_than_early_is_told_by_its_usual_runs() -> None:
    """Every run is late, half of them by less than 5 %, a few by a multiple."""
    factors = []
    for seed in range(20):
        delays = np.abs(np.random.default_rng(seed).standard_cauchy(40)) * 0.05
        factors.append(math.log(correction([float(d) for d in delays], GENERAL).factor))
    assert 0.0 < np.median(factors) < 0.05


def test_the_odds_of_the_shapes_sum_to_one() -> None:
    assert sum(shape.odds for shape in cluster_calibration._SHAPES) == pytest.approx(1.0)


def test_the_interval_narrows_with_evidence() -> None:
    clusters = [simulated(1.0, 40, seed=seed) for seed in range(20)]
    widths = []
    for count in (0, 1, 3, 10, 40):
        found = [correction(seen[:count], GENERAL) for seen in clusters]
        widths.append(fmean(one.high - one.low for one in found))
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.25 * widths[0]


def test_equal_runs_give_equal_answers_in_whatever_order() -> None:
    seen = simulated(1.3, 12)
    assert correction(seen, GENERAL) == correction(seen, GENERAL)
    turned = correction(seen[::-1], GENERAL)
    assert turned.factor == pytest.approx(correction(seen, GENERAL).factor, rel=1e-9)
