"""Published claims beside our own estimates."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.secrets import WRITE, bearer


@pytest.fixture
def claims(client: httpx.Client) -> dict[str, dict[str, Any]]:
    items = client.get("/claims?limit=500").json()["items"]
    return {item["name"]: item for item in items}


def test_every_claim_has_a_verdict_with_its_reasons(claims: dict[str, dict[str, Any]]) -> None:
    assert len(claims) > 30
    for claim in claims.values():
        assert claim["verdict"] in ("consistent", "inconsistent", "unverifiable")
        assert all(check["reason"] for check in claim["checks"])


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("resnet-50-size", "consistent"),
        ("gpt-3-175b", "consistent"),
        ("bert-base-110m", "consistent"),
        ("distilbert-size", "consistent"),
        ("distilbert-speed", "consistent"),
        ("five-cars", "consistent"),
        ("gpu-hours-175b", "inconsistent"),
        ("gpu-hours-6b", "inconsistent"),
        ("transformer-xl-size", "inconsistent"),
        ("inception-v3-size", "inconsistent"),
        ("megatron-lm-size", "inconsistent"),
        ("claude-175b", "unverifiable"),
        ("perplexity-175b", "unverifiable"),
        ("days-175b", "unverifiable"),
    ],
)
def test_verdicts_on_what_our_users_read(
    claims: dict[str, dict[str, Any]], name: str, verdict: str
) -> None:
    assert claims[name]["verdict"] == verdict


def test_175_billion_parameters_in_3200_hours_is_off_by_hundreds(client: httpx.Client) -> None:
    claim = {"parameters": 175_000_000_000, "tokens": 3e11, "device_hours": 3_200}
    answer = client.post("/claims/check", json=claim).json()
    check = answer["checks"][0]
    assert (answer["verdict"], check["quantity"]) == ("inconsistent", "device_hours")
    assert check["factor"] > 100
    assert check["estimate"]["low"] > 3_200


def test_gpt_3_took_a_thousand_times_the_hours_that_are_claimed_for_its_size(
    claims: dict[str, dict[str, Any]],
) -> None:
    (check,) = claims["gpu-hours-175b"]["checks"]
    found = {run["title"]: run for run in check["precedents"]}
    assert found["GPT-3 175B"]["device_hours"] == 3_552_000
    assert found["GPT-3 175B"]["factor"] == pytest.approx(1_110)
    assert claims["resnet-50-size"]["checks"][0]["precedents"] == []


def test_a_speedup_lies_between_none_and_what_the_arithmetic_allows(
    client: httpx.Client,
) -> None:
    claim = {"model": "distilbert", "relative_to": "bert-base"}
    for speedup, verdict in ((0.6, "consistent"), (3.0, "inconsistent")):
        body = claim | {"speedup": speedup}
        (check,) = client.post("/claims/check", json=body).json()["checks"]
        assert check["verdict"] == verdict
        assert check["estimate"]["low"] == 0.0
        assert 0.6 < check["estimate"]["high"] < 1.0


LLAMA = {"accelerator": "h100-sxm", "device_hours": 7e6}


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (LLAMA | {"kgco2e": 2_040_000}, "consistent"),
        (LLAMA | {"kgco2e": 12_900}, "inconsistent"),
        (LLAMA | {"energy_kwh": 4.9e6}, "consistent"),
        (LLAMA | {"energy_kwh": 4.9e5}, "inconsistent"),
        (LLAMA | {"usd": 2.1e7}, "consistent"),
        (LLAMA | {"usd": 7e5}, "inconsistent"),
        (
            {"accelerator": "tpu-v3", "devices": 512, "wall_clock_days": 20, "energy_kwh": 85_700},
            "consistent",
        ),
        ({"device_hours": 7e6, "kgco2e": 2_040_000}, "unverifiable"),
    ],
)
def test_energy_carbon_and_money_follow_from_the_hours_and_the_hardware(
    client: httpx.Client, claim: dict[str, Any], verdict: str
) -> None:
    checks = client.post("/claims/check", json=claim).json()["checks"]
    last = ({"energy_kwh", "kgco2e", "usd"} & claim.keys()).pop()
    (check,) = [entry for entry in checks if entry["quantity"] == last]
    assert check["verdict"] == verdict, check


def test_a_place_that_is_stated_narrows_the_carbon(client: httpx.Client) -> None:
    claim = LLAMA | {"kgco2e": 2_040_000}
    anywhere, france = (
        client.post("/claims/check", json=claim | where).json()["checks"][-1]
        for where in ({}, {"region": "fr"})
    )
    assert france["estimate"]["high"] < anywhere["estimate"]["high"]
    assert (anywhere["verdict"], france["verdict"]) == ("consistent", "inconsistent")
    unknown = client.post("/claims/check", json=claim | {"region": "frr"})
    assert unknown.status_code == 422


def test_hours_of_a_mixture_count_the_parameters_of_a_token(client: httpx.Client) -> None:
    claim = {"model": "deepseek-v3", "accelerator": "h800-sxm", "device_hours": 2.664e6}
    (check,) = client.post("/claims/check", json=claim).json()["checks"]
    assert check["verdict"] == "consistent", check


def test_a_closed_subject_is_unverifiable_and_says_why(client: httpx.Client) -> None:
    claim = {"model": "a-model-that-nobody-describes", "parameters": 10**12}
    answer = client.post("/claims/check", json=claim).json()
    assert answer["verdict"] == "unverifiable"
    assert "not in the catalog" in answer["checks"][0]["reason"]


def test_a_claim_without_a_quantity_is_refused(client: httpx.Client) -> None:
    answer = client.post("/claims/check", json={"model": "gpt-2"})
    assert answer.status_code == 422
    unknown = client.post("/claims/check", json={"usd": 1, "accelerator": "h100-sxn"})
    assert unknown.json()["errors"][0]["pointer"] == "/accelerator"


def test_a_claim_that_was_read_can_be_sent_back_and_nonsense_in_one_harms_nobody(
    keyed: httpx.Client,
) -> None:
    read = keyed.get("/claims/resnet-50-size")
    headers = bearer(WRITE) | {"If-Match": read.headers["etag"]}
    assert keyed.put("/claims/resnet-50-size", json=read.json(), headers=headers).status_code == 200
    odd = {
        "statement": "nonsense",
        "published": "a test",
        "quantities": {"parameters": "many", "layers": [["a"]], "model": 7, "usd": -1},
        "provenance": {"source": "a test", "licence": "none"},
    }
    assert keyed.put("/claims/odd", json=odd, headers=bearer(WRITE)).status_code == 201
    assert keyed.get("/claims/odd").json()["verdict"] == "unverifiable"
