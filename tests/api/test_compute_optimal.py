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


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/budget"),
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
