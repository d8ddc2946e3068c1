"""Scarce data, and training with serving, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.scaling_laws import find_law, training_flops
from service.core.scaling_laws.lifetime import lifetime_flops, lifetime_spend
from service.core.scaling_laws.repeated import (
    effective_parameters,
    effective_tokens,
    repeated_loss,
    repeated_optimum,
)
from tests.core.scaling_laws.sardana import lifetime_of_model


@pytest.mark.parametrize("flops", [1e20, 9.3e21, 1e24])
@pytest.mark.parametrize("unique", [1e9, 2.5e10, 1e13])
@pytest.mark.parametrize("law", ["muennighoff-2023", "besiroglu-2024"])
def test_the_best_size_for_scarce_data_is_the_least_loss_of_a_fine_grid(flops, unique, law):
    found = repeated_optimum(flops, unique, law)
    sizes = found.parameters * np.geomspace(1e-4, 1e3, 700_001)
    losses = repeated_loss(sizes, flops / (6.0 * sizes), unique, law)
    assert found.parameters == pytest.approx(sizes[np.argmin(losses)], rel=1e-3)
    assert found.loss == pytest.approx(np.min(losses), rel=1e-9)
    assert found.loss >= found.unlimited_loss - 1e-12


def test_scarce_data_calls_for_a_smaller_model_and_more_epochs():
    scarce, ample = repeated_optimum(9.3e21, 2.5e10), repeated_optimum(9.3e21, 1e13)
    assert scarce.parameters < ample.parameters
    assert scarce.epochs > 7.0
    assert ample.epochs < 1.0
    assert ample.loss == pytest.approx(ample.unlimited_loss, rel=1e-12)
    assert ample.effective_tokens == pytest.approx(ample.tokens)


@given(unique=st.floats(1e8, 1e13), tokens=st.floats(1e8, 1e16), parameters=st.floats(1e6, 1e13))
def test_repetition_never_helps_more_than_fresh_data_and_never_harms(unique, tokens, parameters):
    worth = effective_tokens(tokens, unique)
    assert worth <= tokens * (1.0 + 1e-12)
    assert worth <= unique * (1.0 + 15.387756)
    assert effective_tokens(tokens * 1.5, unique) >= worth * (1.0 - 1e-12)
    assert effective_parameters(parameters, tokens, unique) <= parameters * (1.0 + 1e-12)


@given(flops=st.floats(1e19, 1e26), unique=st.floats(1e9, 1e14), more=st.floats(1.01, 50.0))
@settings(max_examples=50)
def test_more_compute_or_more_data_never_gives_a_worse_loss(flops, unique, more):
    base = repeated_optimum(flops, unique).loss
    assert repeated_optimum(flops * more, unique).loss <= base + 1e-9
    assert repeated_optimum(flops, unique * more).loss <= base + 1e-9


def test_columns_of_scarce_budgets():
    flops, unique = np.array([1e20, 1e22, 1e24]), np.array([1e9, 1e11, 1e13])
    many = repeated_optimum(flops, unique)
    for row in range(3):
        one = repeated_optimum(float(flops[row]), float(unique[row]))
        assert many.parameters[row] == pytest.approx(one.parameters, rel=1e-6)
        assert many.loss[row] == pytest.approx(one.loss, rel=1e-9)


@given(
    flops=st.floats(1e20, 1e26),
    demand=st.floats(1e9, 1e15),
    law=st.sampled_from(["besiroglu-2024", "sardana-2023", "muennighoff-2023"]),
)
@settings(max_examples=40)
def test_the_lifetime_optimum_is_the_least_of_a_fine_grid(flops, demand, law):
    form = find_law(law).additive
    loss = form.frontier_loss(flops)
    found = lifetime_flops(loss, demand, law)
    sizes = found.parameters * np.geomspace(0.3, 10.0, 60_001)
    tokens = form.tokens_for(sizes, loss)
    total = np.where(np.isfinite(tokens), 6.0 * sizes * tokens + 2.0 * sizes * demand, np.inf)
    assert found.parameters == pytest.approx(sizes[np.argmin(total)], rel=1e-3)
    assert found.total <= np.min(total) * (1.0 + 1e-9)
    assert form.loss(found.parameters, found.tokens) == pytest.approx(loss, rel=1e-6)
    assert found.parameters <= found.optimal_parameters * (1.0 + 1e-9)
    assert found.saving >= -1e-9


def test_without_demand_the_lifetime_optimum_is_the_compute_optimal_model():
    found = lifetime_of_model(13e9, 0.0, "default")
    assert found.parameters == pytest.approx(13e9, rel=1e-6)
    assert found.saving == pytest.approx(0.0, abs=1e-9)


def test_priced_in_flops_the_search_agrees_with_the_condition():
    loss = find_law("default").additive.frontier_loss(1e23)
    priced = lifetime_spend(loss, 3e12, training_flops, lambda n, t: 2.0 * n * t)
    solved = lifetime_flops(loss, 3e12)
    assert priced.parameters == pytest.approx(solved.parameters, rel=1e-5)
    assert priced.total == pytest.approx(solved.total, rel=1e-9)
    assert priced.saving == pytest.approx(solved.saving, rel=1e-6)


def test_dear_serving_makes_smaller_models_and_cheap_serving_does_not():
    loss = find_law("default").additive.frontier_loss(1e23)
    sizes = [
        lifetime_spend(loss, 3e12, training_flops, lambda n, t, p=price: p * n * t).parameters
        for price in (0.0, 2.0, 100.0)
    ]
    optimal = find_law("default").additive.optimum_for_loss(loss)[0]
    assert sizes[0] == pytest.approx(optimal, rel=1e-4)
    assert sizes[2] < sizes[1] < sizes[0]


def test_columns_of_demands():
    sizes, demands = np.array([13e9, 30e9, 70e9]), np.array([2e12, 1e13, 1e13])
    many = lifetime_of_model(sizes, demands, "sardana-2023")
    for row in range(3):
        one = lifetime_of_model(float(sizes[row]), float(demands[row]), "sardana-2023")
        assert many.parameters[row] == pytest.approx(one.parameters, rel=1e-9)
        assert many.saving[row] == pytest.approx(one.saving, rel=1e-9)
