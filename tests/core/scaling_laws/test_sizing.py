"""Verdicts on known models, and what the numbers of a verdict mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.scaling_laws import LAWS, find_law, opinions, optimum, verdict
from service.core.scaling_laws.sizing import TOLERANCE

MODELS = [
    ("GPT-3", 175e9, 300e9, "undertrained"),
    ("Gopher", 280e9, 300e9, "undertrained"),
    ("MT-NLG", 530e9, 270e9, "undertrained"),
    ("BLOOM", 176e9, 366e9, "undertrained"),
    ("Chinchilla", 70e9, 1.4e12, "compute_optimal"),
    ("LLaMA 7B", 6.7e9, 1.0e12, "overtrained"),
    ("LLaMA 13B", 13e9, 1.0e12, "overtrained"),
    ("LLaMA 33B", 32.5e9, 1.4e12, "overtrained"),
    ("LLaMA 65B", 65.2e9, 1.4e12, "compute_optimal"),
    ("Llama 3.1 8B", 8.03e9, 15e12, "overtrained"),
    ("Llama 3.1 405B", 405e9, 15.6e12, "overtrained"),
    ("BERT base", 110e6, 131e9, "overtrained"),
    ("Pythia 12B", 12e9, 300e9, "compute_optimal"),
]
RUNS = {"parameters": st.floats(1e6, 1e13), "tokens": st.floats(1e8, 1e15)}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model[0])
def test_known_models(model):
    _, parameters, tokens, expected = model
    assert verdict(parameters, tokens).verdict == expected


def test_the_laws_disagree_on_llama_65b():
    by_law = {opinion.law: opinion for opinion in opinions(65.2e9, 1.4e12)}
    assert by_law["besiroglu-2024"].verdict == "compute_optimal"
    assert by_law["hoffmann-2022-approach-3-rounded"].verdict == "undertrained"
    assert by_law["kaplan-2020"].verdict == "overtrained"


@given(**RUNS)
def test_the_factor_is_tokens_a_parameter_over_the_optimums_at_equal_compute(parameters, tokens):
    found = verdict(parameters, tokens)
    best = optimum(6.0 * parameters * tokens)
    centre = best.tokens.value / best.parameters.value
    assert found.factor == pytest.approx(tokens / parameters / centre, rel=1e-9)
    if found.verdict == "undertrained":
        assert found.factor < 1.0 / TOLERANCE
    elif found.verdict == "overtrained":
        assert found.factor > TOLERANCE


@given(**RUNS)
def test_the_wasted_compute_is_what_the_same_loss_does_not_need(parameters, tokens):
    found = verdict(parameters, tokens)
    form = find_law("default").additive
    needed = form.flops_for_loss(form.loss(parameters, tokens))
    assert form.frontier_loss(needed) == pytest.approx(found.loss, rel=1e-9)
    assert found.wasted_flops == pytest.approx(found.flops - needed, abs=1e-6 * found.flops)
    assert 0.0 <= found.wasted_fraction < 1.0


def test_at_the_optimum_nothing_is_wasted():
    best = optimum(1e24)
    found = verdict(best.parameters.value, best.tokens.value)
    assert found.factor == pytest.approx(1.0)
    assert found.wasted_fraction == pytest.approx(0.0, abs=1e-9)
    assert found.verdict == "compute_optimal"


def test_the_payback_is_where_training_and_serving_cost_the_same():
    found = verdict(8.03e9, 15e12)
    size, data = find_law("default").additive.optimum_for_loss(found.loss)
    served = found.payback_tokens
    own = found.flops + 2.0 * 8.03e9 * served
    assert own == pytest.approx(6.0 * size * data + 2.0 * size * served, rel=1e-9)
    assert 1e12 < served < 1e14


def test_a_model_that_is_too_large_never_pays_back():
    assert verdict(175e9, 300e9).payback_tokens == float("inf")


def test_a_law_without_a_loss_still_judges():
    found = verdict(175e9, 300e9, "hoffmann-2022-approach-1")
    assert found.verdict == "undertrained"
    assert found.loss is None
    assert found.wasted_flops is None
    assert found.payback_tokens is None


@pytest.mark.parametrize("name", LAWS)
def test_columns_are_judged_as_single_models_are(name):
    parameters = np.array([model[1] for model in MODELS])
    tokens = np.array([model[2] for model in MODELS])
    many = verdict(parameters, tokens, name)
    for row, (_, n, d, _) in enumerate(MODELS):
        one = verdict(n, d, name)
        assert many.verdict[row] == one.verdict
        assert many.factor[row] == pytest.approx(one.factor)
        if one.loss is not None:
            assert many.wasted_fraction[row] == pytest.approx(one.wasted_fraction, abs=1e-9)
            assert many.payback_tokens[row] == pytest.approx(one.payback_tokens)


def test_far_too_many_tokens_a_parameter_are_warned_of():
    assert "beyond_ratio" in verdict(1e9, 1e12).warnings
    assert "beyond_ratio" not in verdict(1e9, 2e10).warnings


def test_within_the_optimums_own_interval_nothing_is_over_or_undertrained():
    """Where the interval is wider than the tolerance, it decides."""
    best = optimum(1e28)
    low, high = best.tokens.low / best.parameters.high, best.tokens.high / best.parameters.low
    for ratio, name in (
        (0.99 * low, "undertrained"),
        (1.01 * low, "compute_optimal"),
        (0.99 * high, "compute_optimal"),
        (1.01 * high, "overtrained"),
    ):
        size = (1e28 / (6.0 * ratio)) ** 0.5
        assert verdict(size, ratio * size).verdict == name
