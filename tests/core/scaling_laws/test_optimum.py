"""The optimum, its intervals, and floats against columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.scaling_laws import (
    LAWS,
    WARNINGS,
    Budget,
    custom_law,
    find_law,
    law_answer,
    optimum,
    solve_all,
    spread,
)
from service.core.scaling_laws.forms import Additive

NAMES = tuple(LAWS)
WITH_LOSS = tuple(name for name, law in LAWS.items() if isinstance(law.form, Additive))
BUDGETS = st.floats(1e15, 1e30)


@pytest.mark.parametrize("name", WITH_LOSS)
@pytest.mark.parametrize("flops", [1e18, 5.76e23, 1e28])
def test_the_closed_form_is_the_least_loss_of_a_fine_grid(name, flops):
    form = find_law(name).additive
    best = optimum(flops, name)
    sizes = best.parameters.value * np.geomspace(1e-3, 1e3, 200_001)
    losses = form.loss(sizes, flops / (6.0 * sizes))
    assert sizes[np.argmin(losses)] == pytest.approx(best.parameters.value, rel=1e-3)
    assert best.loss.value == pytest.approx(np.min(losses), rel=1e-9)


@given(flops=BUDGETS, name=st.sampled_from(NAMES), more=st.floats(1.001, 100.0))
def test_more_compute_never_gives_a_worse_loss_a_smaller_model_or_fewer_tokens(flops, name, more):
    less, greater = law_answer(flops, name), law_answer(flops * more, name)
    assert greater.parameters > less.parameters
    assert greater.tokens > less.tokens
    if less.loss is not None:
        assert greater.loss <= less.loss


@given(flops=BUDGETS, name=st.sampled_from(NAMES))
def test_n_times_d_is_the_budget_as_the_law_counts_it(flops, name):
    counted, tokens = find_law(name).form.optimum(flops)
    # DeepSeek's two printed power laws have a product of 1.0001 C
    within = 2e-4 if name == "deepseek-2024" else 1e-9
    assert 6.0 * counted * tokens == pytest.approx(flops, rel=within)


@given(flops=BUDGETS, name=st.sampled_from(NAMES))
def test_every_interval_holds_its_value(flops, name):
    best = optimum(flops, name)
    for interval in (best.parameters, best.tokens, best.loss):
        if interval is not None:
            assert interval.low <= interval.value <= interval.high
            assert 0.0 < interval.low < interval.high


@given(flops=st.floats(1e12, 1e33))
def test_the_table_of_bounds_is_the_quantile_of_the_refits(flops):
    best = optimum(flops)
    refits = find_law("default").samples()
    size, tokens = refits.optimum(flops)
    low, high = np.quantile(size, [0.05, 0.95])
    least, most = np.quantile(refits.loss(size, tokens), [0.05, 0.95])
    assert best.parameters.low == pytest.approx(min(low, best.parameters.value), rel=1e-3)
    assert best.parameters.high == pytest.approx(max(high, best.parameters.value), rel=1e-3)
    assert best.tokens.high == pytest.approx(flops / 6.0 / best.parameters.low, rel=1e-9)
    assert best.loss.low == pytest.approx(min(least, best.loss.value), rel=1e-3)
    assert best.loss.high == pytest.approx(max(most, best.loss.value), rel=1e-3)


@pytest.mark.parametrize("flops", [6e18, 1e20, 3e21, 1e24, 1e26])
def test_the_default_constants_lie_inside_the_refits_without_help(flops):
    size = find_law("default").samples().optimum(flops)[0]
    best = optimum(flops)
    low, high = np.quantile(size, [0.05, 0.95])
    assert low < best.parameters.value < high


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_budgets_gives_what_each_gives_alone(name):
    flops = np.geomspace(1e16, 1e29, 57)
    column = optimum(flops, name)
    for row, value in enumerate(flops.tolist()):
        alone = optimum(value, name)
        assert column.decades_outside[row] == pytest.approx(alone.decades_outside, abs=1e-9)
        for field in ("parameters", "tokens", "loss"):
            many, one = getattr(column, field), getattr(alone, field)
            assert (many is None) == (one is None)
            if one is not None:
                assert [part[row] for part in many] == pytest.approx(one, rel=1e-9)


def test_a_float_budget_gives_plain_floats():
    best = optimum(5.76e23)
    for number in (*best.parameters, *best.tokens, *best.loss, best.decades_outside):
        assert type(number) is float


def test_a_hundred_thousand_budgets_in_one_call():
    flops = np.geomspace(1e16, 1e30, 100_000)
    best = optimum(flops)
    assert best.parameters.low.shape == (100_000,)
    assert np.all(np.diff(best.parameters.value) > 0.0)
    assert np.all(np.diff(best.loss.value) < 0.0)


def test_laws_side_by_side_are_the_listed_ones_each_with_its_warnings():
    answers = solve_all(Budget("flops", 5.76e23))
    names = [answer.law for answer in answers]
    assert names[0] == "besiroglu-2024"
    assert {"kaplan-2020", "deepseek-2024", "llama-3-2024", "porian-2024"} <= set(names)
    assert "llama-3-2024-printed" not in names
    for answer in answers:
        assert set(answer.warnings) <= set(WARNINGS)
    kaplan = answers[names.index("kaplan-2020")]
    assert {"superseded", "non_embedding", "beyond_parameters"} <= set(kaplan.warnings)


@given(flops=BUDGETS)
def test_the_spread_reaches_from_the_least_to_the_greatest_comparable_law(flops):
    sizes = [law.form.optimum(flops)[0] for law in LAWS.values() if law.comparable]
    assert spread(flops) == (optimum(flops).parameters.value, min(sizes), max(sizes))


def test_each_interval_says_where_it_comes_from():
    assert optimum(1e22).basis == "bootstrap"
    assert optimum(1e22, "hoffmann-2022-approach-2").basis == "published_exponents"
    assert optimum(1e22, "muennighoff-2023").basis == "between_laws"


def test_published_exponents_widen_to_ninety_per_cent_away_from_the_fit():
    near = optimum((6e18 * 3e21) ** 0.5, "hoffmann-2022-approach-2").parameters
    assert near.low == pytest.approx(near.high)
    far = optimum(1e26, "hoffmann-2022-approach-2").parameters
    lever = np.log(1e26 / (6e18 * 3e21) ** 0.5) * 1.6449 / 1.2816
    assert far.high / far.low == pytest.approx(np.exp((0.534 - 0.462) * lever), rel=1e-4)


@pytest.mark.parametrize(
    ("flops", "decades", "code"),
    [(3e23, 2.0, "beyond_compute"), (6e16, 2.0, "below_compute"), (1e20, 0.0, None)],
)
def test_extrapolation_is_said_in_decades(flops, decades, code):
    best = optimum(flops)
    assert best.decades_outside == pytest.approx(decades)
    assert {c for c in best.warnings if c.endswith("compute")} == ({code} if code else set())


def test_a_callers_own_constants_are_a_law():
    law = custom_law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
    own, published = optimum(1e24, law), optimum(1e24)
    assert own.parameters.value == published.parameters.value
    assert own.loss.value == published.loss.value
    assert "caller_constants" in own.warnings


@pytest.mark.parametrize(
    "constants",
    [(-0.1, 1, 1, 0.3, 0.3), (1, 0, 1, 0.3, 0.3), (1, 1, 1, -0.3, 0.3), (1, 1, 1, 0.3, 0)],
)
def test_constants_that_make_no_law_are_refused(constants):
    with pytest.raises(ValueError, match="positive"):
        custom_law(*constants)


@pytest.mark.parametrize("name", ["besiroglu-2024", "hoffmann-2022-approach-2", "muennighoff-2023"])
def test_the_intervals_of_size_and_tokens_spend_the_same_budget(name):
    best = optimum(1e24, name)
    assert best.parameters.low < best.parameters.value < best.parameters.high
    budget = best.parameters.value * best.tokens.value
    assert best.parameters.low * best.tokens.high == pytest.approx(budget)
    assert best.parameters.high * best.tokens.low == pytest.approx(budget)


def test_a_law_without_refits_borrows_the_relative_interval_of_its_loss():
    own, lent = optimum(1e24, "besiroglu-2024").loss, optimum(1e24, "muennighoff-2023").loss
    assert lent.value != own.value
    assert lent.low / lent.value == pytest.approx(own.low / own.value)
    assert lent.high / lent.value == pytest.approx(own.high / own.value)
