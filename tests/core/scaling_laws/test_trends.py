"""Mixtures of experts, precision and hyper-parameters: trends, and the forms they come from."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.scaling_laws import WARNINGS, LawError
from service.core.scaling_laws.hyperparameters import (
    batch_tokens,
    learning_rate,
    optimal_model_scale,
)
from service.core.scaling_laws.mixtures import (
    CLARK,
    abnar_loss,
    abnar_optimum,
    clark_loss,
    krajewski_dense_loss,
    krajewski_loss,
    mixture_trend,
)
from service.core.scaling_laws.precision import (
    KUMAR,
    PRECISION_WARNINGS,
    low_precision_loss,
    precision_parameters,
    quantisation_loss,
)


@pytest.mark.parametrize("routing", CLARK)
def test_clarks_effective_experts_run_from_their_start_to_their_end(routing):
    law = CLARK[routing]
    assert law.effective_experts(1.0) == pytest.approx(law.start)
    assert law.effective_experts(1e12) == pytest.approx(law.end, rel=1e-6)


@pytest.mark.parametrize("routing", CLARK)
@given(parameters=st.floats(1e7, 1e11), experts=st.floats(1.0, 1024.0))
def test_clarks_dense_equivalent_has_the_same_loss_at_one_expert(routing, parameters, experts):
    dense = CLARK[routing].dense_equivalent(parameters, experts)
    assert clark_loss(dense, 1.0, routing) == pytest.approx(
        clark_loss(parameters, experts, routing), rel=1e-9
    )


def test_clarks_gain_ends_near_937_billion_for_s_base():
    law = CLARK["s-base"]
    assert law.dense_equivalent(5e11, 64.0) > 5e11
    # the exponents are printed with two or three digits: log10 N = -b / c = 12
    edge = 10.0 ** (0.108 / 0.009)
    assert law.dense_equivalent(edge, 64.0) == pytest.approx(edge, rel=1e-9)


def test_an_unknown_routing_is_refused():
    with pytest.raises(LawError, match="s-base"):
        clark_loss(1e9, 8.0, "top-2")


def test_krajewskis_law_written_out():
    expected = 0.47 + (2.1 / 8**0.58 + 18.1) / 1e9**0.115 + 30.8 / 6.6e10**0.147
    assert krajewski_loss(1e9, 6.6e10, 8.0) == pytest.approx(expected, rel=1e-12)
    assert krajewski_loss(1e9, 6.6e10, 16.0) < krajewski_loss(1e9, 6.6e10, 1.0)
    dense = 0.47 + 16.3 / 1e9**0.126 + 26.7 / 6.6e10**0.127
    assert krajewski_dense_loss(1e9, 6.6e10) == pytest.approx(dense, rel=1e-12)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_abnars_optimum_is_the_least_loss_of_a_fine_grid(sparsity):
    size, tokens = abnar_optimum(1e22, sparsity)
    assert 6.0 * size * (1.0 - sparsity) * tokens == pytest.approx(1e22)
    sizes = size * np.geomspace(0.01, 100.0, 200_001)
    losses = abnar_loss(sizes, size * tokens / sizes, sparsity)
    assert sizes[np.argmin(losses)] == pytest.approx(size, rel=1e-3)


def test_a_mixture_is_worth_between_its_active_and_its_total_parameters():
    mixtral = mixture_trend(46.7e9, 12.9e9, 8.0, 2.0, tokens=1e12)
    dense = mixtral.dense_equivalent
    assert 12.9e9 < dense.low <= dense.value <= dense.high < 46.7e9
    assert mixtral.abnar_loss == abnar_loss(46.7e9, 1e12, 0.75)
    assert mixtral.krajewski_loss == krajewski_loss(46.7e9, 1e12, 1.0)
    assert mixtral.warnings == ("trend_only",)
    assert mixture_trend(46.7e9, 12.9e9, 8.0, 2.0).abnar_loss is None


def test_sixteen_bits_lose_next_to_nothing_and_three_lose_much():
    assert precision_parameters(1e9) == pytest.approx(1e9, rel=4e-3)
    by_hand = 1e9 * (1 - math.exp(-3 / 2.6745)) * (1 - math.exp(-16 / 2.2102))
    assert precision_parameters(1e9, weight_bits=3.0) == pytest.approx(by_hand, rel=1e-6)
    assert low_precision_loss(1e8, 1e10, weight_bits=3.0) > low_precision_loss(1e8, 1e10)
    assert low_precision_loss(1e8, 1e10) == KUMAR.loss(precision_parameters(1e8), 1e10)
    assert set(PRECISION_WARNINGS) <= set(WARNINGS)


def test_long_training_and_few_bits_make_quantisation_dearer_and_size_cheaper():
    base = quantisation_loss(1e8, 1e10, 4.0)
    assert quantisation_loss(1e8, 1e11, 4.0) / base == pytest.approx(10**0.5068)
    assert quantisation_loss(1e9, 1e10, 4.0) / base == pytest.approx(10**-0.3439)
    assert quantisation_loss(1e8, 1e10, 3.0) / base == pytest.approx(math.exp(1 / 0.5907))


def test_deepseeks_recipe_follows_its_exponents():
    assert learning_rate(1e20) / learning_rate(1e19) == pytest.approx(10**-0.1250)
    assert batch_tokens(1e20) / batch_tokens(1e19) == pytest.approx(10**0.3271)
    assert optimal_model_scale(1e20) / optimal_model_scale(1e19) == pytest.approx(10**0.5243)
