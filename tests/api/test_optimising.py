"""Budgets in what devices spend, through the model of step time, against brute force."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api import optimising, optimising_budgets
from service.api.compute_optimal_models import ComputeOptimalResponse
from service.api.compute_optimal_requests import ComputeOptimalRequest
from service.api.problems import ProblemError
from service.api.resolve import sized, sized_serving
from service.api.resolve.ledger import Ledger
from service.catalog.snapshot import Snapshot
from service.core.scaling_laws import LAWS, find_law, flops_of, optimum, solve
from service.core.scaling_laws.forms import Additive

H100: dict[str, Any] = {
    "accelerator": "h100-sxm",
    "pricing": {"usd_per_device_hour": 2.0},
    "site": {"country": "FR"},
}
BUDGETS: list[dict[str, Any]] = [
    {"kind": "device_hours", "value": 3e5} | H100,
    {"kind": "usd", "value": 2e6, "devices": 512} | H100,
    {"kind": "kgco2e", "value": 4e4} | H100,
    {"kind": "deadline", "hours": 500.0, "devices": 1000} | H100,
]
FLOPS = np.geomspace(1e17, 1e28, 200_001)
"""Steps of 0.013 %."""


@pytest.fixture(scope="session")
def catalog(seeded: Snapshot) -> Callable[[], Snapshot]:
    """The catalog behind a call: hypothesis prints its arguments."""
    return lambda: seeded


def ask(snapshot: Snapshot, **body: Any) -> ComputeOptimalResponse:
    return optimising.answer(ComputeOptimalRequest(**body), snapshot)


def of_rungs(read: Any, sizes: np.ndarray) -> np.ndarray:
    """A quantity at any sizes, from the rungs alone."""
    known = np.array(sized.sizes())
    values = np.array([read(size) for size in known])
    fits = int(np.count_nonzero(values))
    lines = np.interp(np.log(sizes), np.log(known[:fits]), np.log(values[:fits]))
    beyond = fits < len(known)
    return np.where(beyond & (sizes > known[fits - 1]), 0.0, np.exp(lines))


def scanned(runs: optimising_budgets.Runs, budget: dict[str, Any], law: str) -> float:
    """The largest budget in FLOPs of a fine grid whose optimum spends no more than there is."""
    best = optimum(FLOPS, law)
    rate = of_rungs(runs.speed.flops_per_second, best.parameters.value)
    fits = rate > 0.0
    work = 6.0 * best.parameters.value * best.tokens.value
    hours = np.where(fits, work / np.where(fits, rate, 1.0) / 3600.0, np.inf)
    limit = budget.get("value", budget.get("hours"))
    if budget["kind"] == "usd":
        hours = hours * 2.0
    if budget["kind"] == "kgco2e":
        each = of_rungs(runs.speed.kgco2e_per_hour, best.parameters.value)
        hours = np.where(fits, hours, 1e300) * np.where(fits, each, 1.0)
    if budget["kind"] == "deadline":
        hours = hours / budget["devices"]
    return float(FLOPS[np.nonzero(hours <= limit)[0][-1]])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget["kind"])
def test_every_budget_agrees_with_a_scan_of_sizes_under_every_law(
    seeded: Snapshot, budget: dict[str, Any], law: str
) -> None:
    request = ComputeOptimalRequest(budget=budget, law=law)
    asked, runs = optimising_budgets.resolve(request, seeded, Ledger())
    assert runs is not None
    found = solve(asked, law)
    assert found.optimum.flops == pytest.approx(scanned(runs, budget, law), rel=1e-3)
    if found.limited_by == "budget":
        assert found.spent == pytest.approx(asked.value, rel=1e-6)


WITH_LOSS = tuple(name for name, law in LAWS.items() if isinstance(law.form, Additive))


@given(
    budget=st.sampled_from(BUDGETS),
    law=st.sampled_from(WITH_LOSS),
    share=st.floats(1e-3, 1e3),
    more=st.floats(1.0, 100.0),
)
@settings(max_examples=60, deadline=None)
def test_a_larger_budget_never_gives_a_worse_loss_whatever_the_layouts_do(
    catalog: Callable[[], Snapshot], budget: dict[str, Any], law: str, share: float, more: float
) -> None:
    amount = "hours" if budget["kind"] == "deadline" else "value"
    losses = []
    for factor in (share, share * more):
        changed = budget | {amount: budget[amount] * factor}
        request = ComputeOptimalRequest(budget=changed, law=law)
        asked, _ = optimising_budgets.resolve(request, catalog(), Ledger())
        losses.append(find_law(law).form.frontier_loss(flops_of(asked, law)))
    assert losses[1] <= losses[0]


@given(hours=st.floats(1e3, 1e7), law=st.sampled_from(tuple(LAWS)))
@settings(max_examples=40, deadline=None)
def test_the_answer_is_the_same_in_whichever_unit_the_budget_is_stated(
    catalog: Callable[[], Snapshot], hours: float, law: str
) -> None:
    on = H100 | {"devices": 256}
    request = ComputeOptimalRequest(budget={"kind": "device_hours", "value": hours} | on, law=law)
    asked, runs = optimising_budgets.resolve(request, catalog(), Ledger())
    assert runs is not None
    flops = flops_of(asked, law)
    best = optimum(flops, law)
    size, tokens = float(best.parameters.value), float(best.tokens.value)
    others = [
        {"kind": "usd", "value": float(runs.usd(size, tokens))} | on,
        {"kind": "kgco2e", "value": float(runs.kgco2e(size, tokens))} | on,
        {"kind": "deadline", "hours": float(runs.hours(size, tokens)) / 256.0} | on,
        {"kind": "flops", "value": flops},
        {"kind": "parameters", "value": size},
        {"kind": "tokens", "value": tokens},
    ]
    for other in others:
        again, _ = optimising_budgets.resolve(
            ComputeOptimalRequest(budget=other, law=law), catalog(), Ledger()
        )
        assert flops_of(again, law) == pytest.approx(flops, rel=1e-5)


def test_the_speed_of_the_devices_widens_the_interval(seeded: Snapshot) -> None:
    hours = ask(seeded, budget=BUDGETS[0])
    flops = ask(seeded, budget={"kind": "flops", "value": hours.optimum.flops})
    wide, narrow = hours.optimum.parameters, flops.optimum.parameters
    assert wide.value == pytest.approx(narrow.value)
    assert wide.low < narrow.low
    assert wide.high > narrow.high
    assert hours.optimum.interval_basis == "bootstrap and step time"
    assert hours.optimum.flops_interval is not None
    assert (
        hours.optimum.flops_interval.low < hours.optimum.flops < hours.optimum.flops_interval.high
    )
    assert flops.optimum.flops_interval is None


def test_the_run_spends_the_budget_and_states_all_its_units(seeded: Snapshot) -> None:
    for budget in BUDGETS:
        run = ask(seeded, budget=budget).run
        assert run is not None
        assert run.usd is not None
        spent = {
            "device_hours": run.device_hours.value,
            "usd": run.usd.value,
            "kgco2e": run.kgco2e.value,
            "deadline": run.wall_clock_hours.value if run.wall_clock_hours else None,
        }[budget["kind"]]
        assert spent == pytest.approx(budget.get("value", budget.get("hours")), rel=1e-6)
        assert run.kgco2e.low < run.kgco2e.value < run.kgco2e.high
        assert 0.1 < run.model_flops_utilization < 0.7


def test_the_money_for_a_loss_buys_it(seeded: Snapshot) -> None:
    wanted = ask(seeded, budget={"kind": "loss", "value": 2.1, "devices": 64} | H100)
    assert wanted.run is not None
    assert wanted.run.usd is not None
    paid = {"kind": "usd", "value": wanted.run.usd.value, "devices": 64} | H100
    bought = ask(seeded, budget=paid).optimum
    assert bought.loss is not None
    assert bought.loss.value == pytest.approx(2.1, abs=1e-6)


def test_the_largest_model_spends_what_there_is(seeded: Snapshot) -> None:
    for budget in BUDGETS:
        found = ask(seeded, budget=budget, largest={"tokens": 1e12}).largest
        assert found is not None
        assert found.tokens == 1e12
        assert found.spent == pytest.approx(budget.get("value", budget.get("hours")), rel=1e-5)
    ratio = ask(seeded, budget=BUDGETS[0], largest={"tokens_per_parameter": 20.0}).largest
    assert ratio is not None
    assert ratio.tokens == pytest.approx(20.0 * ratio.parameters)


def test_a_life_of_serving_in_money_wants_a_smaller_model_trained_longer(seeded: Snapshot) -> None:
    found = ask(seeded, budget={"kind": "loss", "value": 2.1} | H100, inference_tokens=1e13)
    cost = found.lifetime_cost
    assert cost is not None
    assert cost.parameters < 0.7 * cost.optimal_parameters
    assert cost.total_usd == pytest.approx(cost.training_usd + cost.inference_usd)
    assert cost.saving == pytest.approx(1.0 - cost.total_usd / cost.optimal_total_usd)
    assert cost.saving > 0.1
    for factor in (0.9, 1.1):
        law = find_law("default").additive
        size = cost.parameters * factor
        request = ComputeOptimalRequest(budget=BUDGETS[0])
        _, runs = optimising_budgets.resolve(request, seeded, Ledger())
        assert runs is not None
        training = runs.usd(size, law.tokens_for(size, cost.loss))
        serving = 1e13 * sized_serving.serving_seconds(size, runs.accelerator) / 3600.0 * 2.0
        assert training + serving >= cost.total_usd * 0.9999


def test_where_no_larger_model_fits_the_rest_of_the_budget_is_left(seeded: Snapshot) -> None:
    found = ask(seeded, budget={"kind": "device_hours", "value": 1e9, "devices": 8} | H100)
    assert found.optimum.limited_by == "capacity"
    assert found.optimum.spent < 1e9
    assert "limited-by-capacity" in [warning.code for warning in found.warnings]


EXTREMES = {
    "irreducible": st.floats(0.0, 20.0),
    "parameter_coefficient": st.floats(1e-3, 1e12),
    "token_coefficient": st.floats(1e-3, 1e12),
    "parameter_exponent": st.floats(0.05, 1.0),
    "token_exponent": st.floats(0.05, 1.0),
}


@given(
    law=st.fixed_dictionaries(EXTREMES),
    budget=st.sampled_from(
        [
            {"kind": "flops", "value": 1e9},
            {"kind": "flops", "value": 1e36},
            {"kind": "loss", "value": 2.0},
            {"kind": "parameters", "value": 1e17},
            {"kind": "tokens", "value": 1e5},
            {"kind": "device_hours", "value": 1e-3} | H100,
            {"kind": "usd", "value": 1e15} | H100,
        ]
    ),
    served=st.sampled_from([None, 1.0, 1e21]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_constants_the_answer_is_finite_or_a_problem(
    catalog: Callable[[], Snapshot],
    law: dict[str, float],
    budget: dict[str, Any],
    served: float | None,
) -> None:
    model = {"parameters": 1e5, "tokens": 1e21}
    more = {"inference_tokens": served, "unique_tokens": 1.0, "model": model}
    try:
        answer = ask(catalog(), budget=budget, law=law, **more)
    except ProblemError:
        return
    again = json.loads(answer.model_dump_json())
    ComputeOptimalResponse.model_validate(again)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("flops", [1e9, 1e36])
def test_the_ends_of_the_range_are_answered_in_full(
    seeded: Snapshot, law: str, flops: float
) -> None:
    for model in ({"parameters": 1e17, "tokens": 1e5}, {"parameters": 1e5, "tokens": 1e21}):
        answer = ask(
            seeded,
            budget={"kind": "flops", "value": flops} | H100,
            law=law,
            model=model,
            unique_tokens=1e21,
            inference_tokens=1e21,
            largest={"tokens_per_parameter": 1e6},
            mixture={"experts": 65_536},
            precision={"weight_bits": 1, "inference_weight_bits": 1},
        )
        ComputeOptimalResponse.model_validate(json.loads(answer.model_dump_json()))
