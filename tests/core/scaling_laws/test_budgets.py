"""Budgets of every kind against brute force, and what a larger one must never do."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.core.scaling_laws import (
    LAWS,
    Budget,
    BudgetError,
    LawError,
    device_hours,
    find_law,
    flops_for_spend,
    flops_of,
    largest_parameters,
    optimum,
    per_device_hour,
    solve,
    solve_all,
    wall_clock_hours,
)
from service.core.scaling_laws.forms import Additive, KaplanFrontier

NAMES = tuple(LAWS)
WITH_LOSS = tuple(n for n, law in LAWS.items() if isinstance(law.form, Additive | KaplanFrontier))


def smooth(parameters, tokens):
    """A device that grows more efficient with size, up to a limit."""
    return 5e14 * (parameters / (parameters + 2e9)) * (1.0 + 0.0 * tokens)


def stepped(parameters, tokens):
    """A device that loses a tenth at each change of layout, every factor of four in size."""
    step = np.floor(np.log(parameters) / np.log(4.0))
    within = np.log(parameters) / np.log(4.0) - step
    return 3e14 * (0.9 + 0.1 * (1.0 - within)) * (1.0 + 0.0 * tokens)


def scan(law, spend, value, low=1e15, high=1e28, points=400_001):
    """The largest budget of a fine grid whose optimum spends no more than the value."""
    flops = np.geomspace(low, high, points)
    best = optimum(flops, law)
    return flops[np.nonzero(spend(best.parameters.value, best.tokens.value) <= value)[0][-1]]


SPENT = [
    ("device_hours", device_hours(smooth), 1e5),
    ("usd", per_device_hour(smooth, 2.5), 1e6),
    ("kgco2e", per_device_hour(smooth, lambda n, d: 0.2 + 0.1 * n / (n + 1e9)), 5e4),
    ("deadline_hours", wall_clock_hours(smooth, 512), 24.0 * 14),
    ("device_hours", device_hours(stepped), 3e5),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "spend", "value"), SPENT)
def test_spent_budgets_agree_with_a_scan_of_sizes(name, kind, spend, value):
    found = solve(Budget(kind, value, spend), name)
    expected = optimum(scan(name, spend, value), name)
    assert found.optimum.parameters.value == pytest.approx(expected.parameters.value, rel=1e-3)
    assert found.optimum.tokens.value == pytest.approx(expected.tokens.value, rel=1e-3)
    assert found.spent == pytest.approx(value, rel=1e-6)
    assert found.spent <= value * (1.0 + 1e-12)
    assert found.limited_by == "budget"


@pytest.mark.parametrize("name", [n for n in WITH_LOSS if n != "kaplan-2020"])
def test_a_spent_budget_loses_nothing_worth_having_against_any_size_and_any_tokens(name):
    """The answer keeps to the law's frontier; leaving it for a faster size gains next to none."""
    spend, value = device_hours(smooth), 1e5
    found = solve(Budget("device_hours", value, spend), name).optimum
    sizes = found.parameters.value * np.geomspace(0.05, 20.0, 4001)
    tokens = value * 3600.0 * smooth(sizes, 1.0) / (6.0 * sizes)
    assert found.loss.value <= np.min(find_law(name).form.loss(sizes, tokens)) * 1.001


@pytest.mark.parametrize("name", NAMES)
def test_fixed_parameters_and_tokens_agree_with_a_scan(name):
    flops = np.geomspace(1e17, 1e27, 400_001)
    best = optimum(flops, name)
    for kind, column in (("parameters", best.parameters), ("tokens", best.tokens)):
        for value in (2e9, 3.3e10):
            if not column.value[0] < value < column.value[-1]:
                continue
            found = solve(Budget(kind, value), name).optimum
            nearest = flops[np.argmin(np.abs(np.log(column.value / value)))]
            assert found.flops == pytest.approx(nearest, rel=1e-3)
            assert getattr(found, kind).value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", WITH_LOSS)
def test_a_target_loss_agrees_with_a_scan(name):
    flops = np.geomspace(1e17, 1e27, 400_001)
    losses = find_law(name).form.frontier_loss(flops)
    target = float(losses[200_123]) * 1.0000001
    found = solve(Budget("loss", target), name).optimum
    cheapest = flops[np.nonzero(losses <= target)[0][0]]
    assert found.flops == pytest.approx(cheapest, rel=1e-3)
    assert found.loss.value == pytest.approx(target, rel=1e-9)


@pytest.mark.parametrize("name", [n for n in WITH_LOSS if n != "kaplan-2020"])
def test_no_size_reaches_a_loss_with_less_compute_than_the_solver(name):
    form = find_law(name).additive
    target = form.frontier_loss(1e23)
    found = solve(Budget("loss", target), name).optimum
    sizes = found.parameters.value * np.geomspace(0.2, 50.0, 100_001)
    flops = 6.0 * sizes * form.tokens_for(sizes, target)
    assert np.min(flops) == pytest.approx(found.flops, rel=1e-6)
    assert form.parameters_for(found.tokens.value, target) == pytest.approx(
        found.parameters.value, rel=1e-9
    )


@given(
    kind=st.sampled_from(["flops", "device_hours", "usd", "deadline_hours"]),
    value=st.floats(1.0, 1e9),
    more=st.floats(1.0001, 1000.0),
    name=st.sampled_from(WITH_LOSS),
)
@settings(max_examples=200)
def test_a_larger_budget_never_gives_a_worse_loss(kind, value, more, name):
    spend = {
        "flops": None,
        "device_hours": device_hours(smooth),
        "usd": per_device_hour(smooth, 2.5),
        "deadline_hours": wall_clock_hours(smooth, 64),
    }[kind]
    scale = 1e18 if kind == "flops" else 1.0
    less = solve(Budget(kind, value * scale, spend), name).optimum
    greater = solve(Budget(kind, value * scale * more, spend), name).optimum
    assert greater.loss.value <= less.loss.value
    assert greater.parameters.value >= less.parameters.value


@given(value=st.floats(10.0, 1e8), more=st.floats(1.05, 100.0))
@settings(max_examples=200)
def test_a_larger_budget_is_no_worse_where_layouts_jump(value, more):
    def jumping(parameters, tokens):
        fast = np.floor(np.log(parameters)) % 2 == 0
        return np.where(fast, 4e14, 3e14) + 0.0 * tokens

    spend = device_hours(jumping)
    less = solve(Budget("device_hours", value, spend)).optimum
    greater = solve(Budget("device_hours", value * more, spend)).optimum
    assert greater.loss.value <= less.loss.value


def test_a_larger_model_that_is_faster_again_is_found():
    def jumping(parameters, tokens):
        return np.where((parameters > 5e9) & (parameters < 6e9), 1e14, 3e14) + 0.0 * tokens

    spend = device_hours(jumping)
    size, tokens = find_law("default").form.optimum(
        find_law("default").form.flops_for_parameters(6.5e9)
    )
    found = solve(Budget("device_hours", float(spend(size, tokens)) * 1.0001, spend))
    assert found.optimum.parameters.value == pytest.approx(6.5e9, rel=1e-3)


@given(hours=st.floats(1.0, 1e8), name=st.sampled_from(NAMES))
@settings(max_examples=100)
def test_the_answer_is_the_same_in_whichever_unit_the_budget_is_stated(hours, name):
    def rate(parameters, tokens):
        return smooth(parameters, tokens)

    budgets = (
        Budget("device_hours", hours, device_hours(rate)),
        Budget("usd", hours * 2.5, per_device_hour(rate, 2.5)),
        Budget("kgco2e", hours * 0.3, per_device_hour(rate, 0.3)),
        Budget("deadline_hours", hours / 128.0, wall_clock_hours(rate, 128)),
    )
    flops = [flops_of(budget, name) for budget in budgets]
    again = [
        *flops,
        flops_of(Budget("flops", flops[0]), name),
        flops_of(Budget("parameters", optimum(flops[0], name).parameters.value), name),
        flops_of(Budget("tokens", optimum(flops[0], name).tokens.value), name),
    ]
    assert again == pytest.approx([flops[0]] * len(again), rel=1e-6)


@pytest.mark.parametrize(("kind", "spend", "value"), SPENT)
def test_a_column_of_budgets_gives_what_each_gives_alone(kind, spend, value):
    values = value * np.array([0.01, 0.3, 1.0, 7.0, 1000.0])
    many = solve(Budget(kind, values, spend))
    alone = [solve(Budget(kind, float(one), spend)) for one in values]
    assert many.optimum.flops == pytest.approx([one.optimum.flops for one in alone], rel=1e-6)
    assert list(many.limited_by) == [one.limited_by for one in alone]


def test_a_hundred_thousand_spent_budgets_in_one_call():
    values = np.geomspace(1e2, 1e9, 100_000)
    flops = flops_for_spend(values, device_hours(smooth))
    assert np.all(np.diff(flops) > 0.0)
    best = optimum(flops)
    spent = device_hours(smooth)(best.parameters.value, best.tokens.value)
    assert spent == pytest.approx(values, rel=1e-6)


def test_where_devices_hold_no_larger_model_capacity_limits_and_budget_is_left():
    def fits(parameters, tokens):
        return np.where(parameters <= 3e9, 4e14, 0.0) + 0.0 * tokens

    found = solve(Budget("device_hours", 1e6, device_hours(fits)))
    assert found.limited_by == "capacity"
    assert found.optimum.parameters.value == pytest.approx(3e9, rel=1e-6)
    assert found.spent < 1e6
    assert solve(Budget("device_hours", 10.0, device_hours(fits))).limited_by == "budget"


def test_the_largest_model_for_given_tokens_spends_the_budget():
    spend = device_hours(smooth)
    size = largest_parameters(1e5, spend, tokens=1e12)
    assert spend(size, 1e12) == pytest.approx(1e5, rel=1e-6)
    ratio = largest_parameters(1e5, spend, tokens_per_parameter=20.0)
    assert spend(ratio, 20.0 * ratio) == pytest.approx(1e5, rel=1e-6)
    with pytest.raises(ValueError, match="either"):
        largest_parameters(1e5, spend)


def test_the_money_for_a_loss_buys_that_loss():
    spend = per_device_hour(smooth, 2.5)
    bought = solve(Budget("loss", 2.1)).optimum
    usd = spend(bought.parameters.value, bought.tokens.value)
    assert solve(Budget("usd", usd, spend)).optimum.loss.value == pytest.approx(2.1, abs=1e-6)


def test_every_law_that_can_answers_a_budget():
    hours = solve_all(Budget("device_hours", 1e6, device_hours(smooth)))
    losses = solve_all(Budget("loss", 2.2))
    assert len(hours) == sum(law.listed for law in LAWS.values())
    assert {"llama-3-2024", "hoffmann-2022-approach-1"}.isdisjoint(a.law for a in losses)
    for answer in losses:
        assert answer.loss == pytest.approx(2.2)
    sizes = solve_all(Budget("parameters", 7e9))
    for answer in sizes:
        assert answer.parameters == pytest.approx(7e9)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["flops", "loss", "tokens", "usd"])
def test_a_budget_that_is_no_budget_is_refused(kind, value):
    with pytest.raises(BudgetError, match="positive and finite"):
        solve(Budget(kind, value, per_device_hour(smooth, 1.0)))


def test_budgets_that_no_run_meets_are_refused_with_the_reason():
    with pytest.raises(BudgetError, match=r"at or below E, 1\.81\d*$"):
        solve(Budget("loss", 1.8172))
    with pytest.raises(BudgetError, match="how fast the devices are"):
        solve(Budget("usd", 1e6))
    with pytest.raises(BudgetError, match="too small"):
        solve(Budget("usd", 1.0, per_device_hour(lambda n, d: 0.0, 1.0)))
    with pytest.raises(BudgetError, match="no finite training run"):
        solve(Budget("usd", 1.0, per_device_hour(smooth, 0.0)))
    with pytest.raises(LawError, match="gives no loss"):
        solve(Budget("loss", 2.0), "llama-3-2024")


@given(value=st.floats(1e-3, 1e12), name=st.sampled_from(NAMES))
@settings(max_examples=100)
def test_the_budget_is_never_exceeded(value, name):
    spend = device_hours(stepped)
    try:
        found = solve(Budget("device_hours", value, spend), name)
    except BudgetError:
        assume(False)
    assert found.spent <= value * (1.0 + 1e-12)
