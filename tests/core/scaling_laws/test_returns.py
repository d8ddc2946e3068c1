"""Diminishing returns, the basin round the optimum, and the curves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.scaling_laws import (
    LAWS,
    Additive,
    LawError,
    basin,
    find_law,
    frontier,
    isoflop_curve,
    marginal,
    next_step,
    optimum,
    per_device_hour,
    perplexity,
    size_overhead,
)

WITH_LOSS = tuple(name for name, law in LAWS.items() if isinstance(law.form, Additive))
RUNS = {"parameters": st.floats(1e7, 1e12), "tokens": st.floats(1e9, 1e14)}


@pytest.mark.parametrize(("factor", "percent"), [(0.5, 25.93), (0.75, 3.35), (2.0, 14.76)])
def test_the_flat_basin_of_the_default_law(factor, percent):
    assert 100.0 * size_overhead(factor)[1] == pytest.approx(percent, rel=1e-3)


@given(name=st.sampled_from(WITH_LOSS), flops=st.floats(1e18, 1e28))
def test_every_point_of_the_basin_reaches_the_optimums_loss(name, flops):
    form, best = find_law(name).additive, optimum(flops, name).loss.value
    for point in basin(flops, name):
        if point.tokens < math.inf:
            assert form.loss(point.parameters, point.tokens) == pytest.approx(best, rel=1e-9)
            paid = 6.0 * point.parameters * point.tokens / flops - 1.0
            assert point.overhead == pytest.approx(paid, abs=1e-9)
        same = form.loss(point.parameters, flops / 6.0 / point.parameters)
        assert point.loss_increase == pytest.approx(same - best, abs=1e-12)
        assert point.overhead >= -1e-9
        assert point.loss_increase >= -1e-12


def test_a_size_too_small_for_the_loss_costs_without_end():
    assert size_overhead(0.01) == (math.inf, math.inf)
    factors = np.array([0.01, 0.5, 1.0, 2.0])
    tokens, extra = size_overhead(factors)
    assert np.isinf(tokens[0])
    assert np.isinf(extra[0])
    assert extra[1:] == pytest.approx([size_overhead(k)[1] for k in (0.5, 1.0, 2.0)], abs=1e-12)


@given(**RUNS)
def test_a_doubling_takes_off_what_the_law_says(parameters, tokens):
    form, found = find_law("default").additive, marginal(parameters, tokens)
    now = form.loss(parameters, tokens)
    assert found.loss == now
    assert found.doubling_parameters == pytest.approx(
        now - form.loss(2 * parameters, tokens), abs=1e-12
    )
    assert found.doubling_tokens == pytest.approx(
        now - form.loss(parameters, 2 * tokens), abs=1e-12
    )
    assert found.doubling_compute < found.doubling_parameters + found.doubling_tokens


def test_at_the_optimum_doubling_compute_moves_along_the_frontier():
    best = optimum(1e23)
    found = marginal(best.parameters.value, best.tokens.value)
    gain = best.loss.value - optimum(2e23).loss.value
    assert found.doubling_compute == pytest.approx(gain, rel=1e-9)
    assert found.doubling_compute > max(found.doubling_parameters, found.doubling_tokens)


@given(**RUNS)
def test_the_next_step_reaches_its_loss_either_way(parameters, tokens):
    form, step = find_law("default").additive, next_step(parameters, tokens)
    assert step.loss == pytest.approx(form.loss(parameters, tokens) - 0.01)
    used = 6.0 * parameters * tokens
    if step.longer_tokens < math.inf:
        longer = form.loss(parameters, tokens + step.longer_tokens)
        assert longer == pytest.approx(step.loss, abs=1e-7)
        assert step.longer_flops == pytest.approx(6.0 * parameters * step.longer_tokens, rel=1e-3)
    if step.optimal_flops < math.inf:
        assert form.frontier_loss(used + step.optimal_flops) == pytest.approx(step.loss, abs=1e-7)
        assert step.optimal_flops <= step.longer_flops * (1.0 + 1e-9) + 1e-9 * used


def test_the_next_step_is_priced_through_the_devices():
    spend = per_device_hour(lambda n, d: 4e14, 2.5)
    step = next_step(7e10, 1.4e12, spend=spend)
    each = 2.5 / 3600.0 / 4e14
    assert step.longer_spend == pytest.approx(step.longer_flops * each)
    assert step.optimal_spend == pytest.approx(step.optimal_flops * each)
    assert next_step(7e10, 1.4e12).longer_spend is None


def test_a_step_below_the_irreducible_loss_has_no_price():
    spend = per_device_hour(lambda n, d: 4e14, 2.5)
    step = next_step(1e15, 1e17, nats=0.2, spend=spend)
    assert step.longer_flops == step.optimal_flops == math.inf
    assert step.longer_spend == step.optimal_spend == math.inf
    columns = next_step(np.array([7e10, 1e15]), np.array([1.4e12, 1e17]), spend=spend)
    assert np.isfinite(columns.optimal_spend[0])


def test_the_isoflop_curve_dips_at_the_optimum():
    best, curve = optimum(1e24), isoflop_curve(1e24, points=81)
    assert 6.0 * curve.parameters * curve.tokens == pytest.approx(curve.flops)
    assert curve.parameters[np.argmin(curve.loss)] == pytest.approx(best.parameters.value)
    assert curve.parameters[-1] / curve.parameters[0] == pytest.approx(256.0)


def test_the_frontier_is_the_optimum_of_each_budget():
    curve = frontier(1e18, 1e27, points=10)
    for row, flops in enumerate(curve.flops.tolist()):
        best = optimum(flops)
        assert curve.parameters[row] == pytest.approx(best.parameters.value)
        assert curve.tokens[row] == pytest.approx(best.tokens.value)
        assert curve.loss[row] == pytest.approx(best.loss.value)
    assert frontier(1e18, 1e27, "llama-3-2024").loss is None


def test_perplexity_is_the_exponential_of_the_loss():
    assert perplexity(2.0) == pytest.approx(math.e**2)
    # twenty tokens a parameter at 1B: 12.55 on MassiveText
    assert perplexity(find_law("default").form.loss(1e9, 2e10)) == pytest.approx(12.55, abs=0.01)


def test_what_needs_a_loss_refuses_a_law_without_one():
    for answer in (basin, isoflop_curve):
        with pytest.raises(LawError):
            answer(1e24, "llama-3-2024")
