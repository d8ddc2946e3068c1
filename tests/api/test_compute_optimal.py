"""POST /compute-optimal: every kind of budget, and the ways it can be wrong."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

ON = {"accelerator": "h100-sxm", "utilization": 0.4}
BUDGETS: list[dict[str, Any]] = [
    {"kind": "flops", "value": 5.76e23},
    {"kind": "device_hours", "value": 1e6} | ON,
    {"kind": "usd", "value": 1e6, "pricing": {"usd_per_device_hour": 2.0}} | ON,
    {"kind": "kgco2e", "value": 1e5, "site": {"country": "FR"}} | ON,
    {"kind": "deadline", "hours": 720, "devices": 1024} | ON,
    {"kind": "loss", "value": 2.0},
    {"kind": "parameters", "value": 7e9},
    {"kind": "tokens", "value": 1e12},
]


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/compute-optimal", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget["kind"])
def test_each_budget_is_spent_on_an_optimum_inside_its_interval(
    client: httpx.Client, budget: dict[str, Any]
) -> None:
    answer = ask(client, budget=budget)
    best = answer["optimum"]
    assert best["parameters"]["low"] < best["parameters"]["value"] < best["parameters"]["high"]
    flops = 6 * best["parameters"]["value"] * best["tokens"]["value"]
    assert best["flops"] == pytest.approx(flops, rel=1e-6)
    assert best["spent"] == pytest.approx(budget.get("value", budget.get("hours")), rel=1e-6)
    assert {law["law"] for law in answer["laws"]} >= {"besiroglu-2024"}


def test_gophers_budget_buys_chinchilla_under_the_first_approach(client: httpx.Client) -> None:
    budget = {"kind": "flops", "value": 5.76e23}
    best = ask(client, budget=budget, law="hoffmann-2022-approach-1")["optimum"]
    assert 60e9 < best["parameters"]["value"] < 75e9
    assert best["loss"] is None


def test_the_same_money_in_hours_gives_the_same_size(client: httpx.Client) -> None:
    hours = ask(client, budget={"kind": "device_hours", "value": 5e5} | ON)
    pricing = {"usd_per_device_hour": 2.0}
    money = ask(client, budget={"kind": "usd", "value": 1e6, "pricing": pricing} | ON)
    sizes = [answer["optimum"]["parameters"]["value"] for answer in (hours, money)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-9)


def test_the_basin_is_flat_round_the_optimum(client: httpx.Client) -> None:
    basin = ask(client, budget=BUDGETS[0])["basin"]
    extra = {point["size_factor"]: point["extra_compute"] for point in basin}
    assert extra[1.0] == pytest.approx(0.0, abs=1e-9)
    assert extra[0.5] == pytest.approx(0.259, abs=0.002)
    assert extra[2.0] == pytest.approx(0.148, abs=0.002)


def test_scarce_data_and_a_long_life_change_the_answer(client: httpx.Client) -> None:
    answer = ask(client, budget=BUDGETS[0], unique_tokens=1e11, inference_tokens=1e13)
    assert answer["repeated"]["epochs"] > 1
    assert answer["lifetime"]["parameters"] < answer["optimum"]["parameters"]["value"]
    assert "repeats-data" in [warning["code"] for warning in answer["warnings"]]


def test_half_three_quarters_and_twice_the_size_cost_what_the_default_law_says(
    client: httpx.Client,
) -> None:
    points = {point["size_factor"]: point for point in ask(client, budget=BUDGETS[0])["basin"]}
    extra = [100.0 * points[factor]["extra_compute"] for factor in (0.5, 0.75, 2.0)]
    assert extra == pytest.approx([25.9, 3.4, 14.8], abs=0.06)


def test_every_law_has_its_interval_range_and_basis(client: httpx.Client) -> None:
    answer = ask(client, budget={"kind": "flops", "value": 3.8e25})
    for law in answer["laws"]:
        interval = law["parameters_interval"]
        assert interval["low"] <= interval["value"] == law["parameters"] <= interval["high"]
        assert law["interval_basis"] in ("bootstrap", "published_exponents", "between_laws")
    default = next(law for law in answer["laws"] if law["law"] == "besiroglu-2024")
    assert default["decades_outside_fit"] == pytest.approx(4.1, abs=0.01)
    assert "beyond_compute" in default["warnings"]


def test_constants_of_ones_own_are_a_law(client: httpx.Client) -> None:
    own = {
        "irreducible": 1.8172,
        "parameter_coefficient": 482.01,
        "token_coefficient": 2085.43,
        "parameter_exponent": 0.3478,
        "token_exponent": 0.3658,
    }
    mine, known = (ask(client, budget=BUDGETS[0], law=law) for law in (own, "besiroglu-2024"))
    for name in ("parameters", "tokens", "loss"):
        found = mine["optimum"][name]["value"]
        assert found == pytest.approx(known["optimum"][name]["value"], rel=1e-9)
    assert mine["optimum"]["interval_basis"] == "between_laws"
    assert "caller-constants" in [warning["code"] for warning in mine["warnings"]]


def test_the_next_hundredth_of_a_nat_has_its_price(client: httpx.Client) -> None:
    bare = ask(client, budget=BUDGETS[0])
    step = bare["next_step"]
    assert step["loss"] == pytest.approx(bare["optimum"]["loss"]["value"] - 0.01)
    assert step["perplexity"] < bare["optimum"]["perplexity"]["value"]
    assert step["optimal_flops"] < step["longer_flops"]
    assert step["optimal_usd"] is step["longer_kgco2e"] is None
    bought = ask(client, budget={"kind": "flops", "value": step["optimal_flops"] + 5.76e23})
    assert bought["optimum"]["loss"]["value"] == pytest.approx(step["loss"], abs=1e-9)
    on = ON | {"pricing": {"usd_per_device_hour": 2.0}}
    priced = ask(client, budget=BUDGETS[0] | on)["next_step"]
    assert priced["longer_usd"] == pytest.approx(2.0 * priced["longer_device_hours"])
    assert priced["optimal_kgco2e"] > 0.0
    assert "relative-only" in [warning["code"] for warning in bare["warnings"]]


def test_the_frontier_passes_through_the_optimum(client: httpx.Client) -> None:
    answer = ask(client, budget=BUDGETS[0])
    columns = answer["frontier"]
    assert {len(column) for column in columns.values()} == {41}
    assert columns["flops"][20] == pytest.approx(5.76e23)
    assert columns["parameters"][20] == pytest.approx(answer["optimum"]["parameters"]["value"])
    assert columns["loss"] == sorted(columns["loss"], reverse=True)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget["kind"])
def test_a_column_of_budgets_is_what_each_is_alone(
    client: httpx.Client, budget: dict[str, Any]
) -> None:
    amount = "hours" if budget["kind"] == "deadline" else "value"
    on_ladder = {name: value for name, value in budget.items() if name != "utilization"}
    values = [budget[amount] * factor for factor in (0.98, 1.0, 1.3)]
    answer = ask(client, budget=on_ladder, values=values)
    columns = answer["columns"]
    assert columns["values"] == values
    for row, value in enumerate(values):
        best = ask(client, budget=on_ladder | {amount: value})["optimum"]
        for name in ("parameters", "tokens", "loss"):
            assert columns[name][row] == pytest.approx(best[name]["value"], rel=1e-6)


def test_a_hundred_thousand_budgets_in_one_call(client: httpx.Client) -> None:
    values = [1e18 * 10 ** (row / 1e4) for row in range(100_000)]
    columns = ask(client, budget=BUDGETS[0], values=values)["columns"]
    assert columns["flops"] == values
    assert len(columns["loss"]) == 100_000
    assert columns["parameters"][0] < columns["parameters"][-1]


def test_a_size_of_ones_own_is_judged_by_every_law(client: httpx.Client) -> None:
    model = {"parameters": 8.03e9, "tokens": 1.5e13}
    found = ask(client, budget=BUDGETS[0], model=model)["model"]
    assert found["verdict"] == "overtrained"
    assert found["factor"] == pytest.approx(102, rel=0.02)
    assert 0.0 < found["wasted_fraction"] < 1.0
    assert found["wasted_flops"] == pytest.approx(found["wasted_fraction"] * found["flops"])
    assert found["payback_tokens"] > 1e12
    assert {opinion["verdict"] for opinion in found["opinions"]} == {"overtrained"}
    gpt = ask(client, budget=BUDGETS[0], model={"parameters": 175e9, "tokens": 3e11})["model"]
    assert gpt["verdict"] == "undertrained"
    assert gpt["payback_tokens"] is None


def test_mixtures_and_low_precision_are_marked_as_trends(client: httpx.Client) -> None:
    answer = ask(
        client,
        budget=BUDGETS[0],
        mixture={"experts": 64, "active_experts": 8, "granularity": 4},
        precision={"weight_bits": 4, "inference_weight_bits": 4},
    )
    mixture = answer["mixture"]
    assert mixture["total_parameters"] == pytest.approx(8 * mixture["active_parameters"])
    dense = mixture["dense_equivalent"]
    assert mixture["active_parameters"] <= dense["low"] <= dense["high"]
    assert mixture["warnings"] == ["trend_only"]
    precision = answer["precision"]
    assert precision["effective_parameters"] < mixture["active_parameters"]
    assert precision["loss_increase"] > 0.0
    assert precision["quantisation_loss"] > 0.0
    assert precision["warnings"] == ["young", "trend_only"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/budget"),
        ({"budget": BUDGETS[0], "largest": {}}, "/largest"),
        ({"budget": BUDGETS[0], "values": []}, "/values"),
        ({"budget": BUDGETS[5], "values": [1.5]}, "/budget"),
        ({"budget": {"kind": "device_hours", "value": 1e5}, "values": [1e5] * 10_001}, "/values"),
        ({"budget": BUDGETS[0], "mixture": {"experts": 2, "active_experts": 3}}, "/mixture"),
        ({"budget": {"kind": "wishes", "value": 1}}, "/budget/kind"),
        ({"budget": {"kind": "flops", "value": -1}}, "/budget/value"),
        ({"budget": {"kind": "loss", "value": 0.2}}, "/budget"),
        ({"budget": BUDGETS[0], "law": "chinchila"}, "/law"),
        ({"budget": {"kind": "usd", "value": 10, "accelerator": "x"}}, "/budget/accelerator"),
        (
            {"budget": {"kind": "kgco2e", "value": 1, "site": {"region": "x"}}},
            "/budget/site/region",
        ),
        ({"budget": {"kind": "loss", "value": 2}, "law": "llama-3-2024"}, "/law"),
    ],
    ids=str,
)
def test_wrong_budgets_get_problems_that_point_at_the_field(
    client: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/compute-optimal", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("law", "pointer"),
    [(5, "/law"), ({"token_coefficient": 1e-320}, "/law/token_coefficient")],
)
def test_a_wrong_law_is_pointed_at_where_it_stands(
    client: httpx.Client, law: object, pointer: str
) -> None:
    body = {"budget": {"kind": "flops", "value": 1e21}, "law": law}
    errors = client.post("/compute-optimal", json=body).json()["errors"]
    assert pointer in {error["pointer"] for error in errors}
    assert all(error["pointer"].startswith("/law") for error in errors)
