"""The laws over HTTP, and a law fitted to runs whose truth is known."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

TRUTH = {
    "irreducible": 1.8172,
    "parameter_exponent": 0.3478,
    "token_exponent": 0.3658,
}


def runs(noise: float) -> list[dict[str, float]]:
    random = np.random.default_rng(7)
    found = []
    for size in np.geomspace(5e7, 2e10, 8):
        for tokens in np.geomspace(1e9, 5e11, 8):
            loss = 1.8172 + 482.01 / size**0.3478 + 2085.43 / tokens**0.3658
            error = float(np.exp(noise * random.standard_normal()))
            found.append({"parameters": float(size), "tokens": float(tokens), "loss": loss * error})
    return found


def test_a_fit_finds_the_constants_that_made_the_runs(client: httpx.Client) -> None:
    response = client.post("/scaling-laws/fit", json={"runs": runs(0.002)})
    assert response.status_code == 200, response.text
    found = response.json()
    for name, true in TRUTH.items():
        assert abs(found[name]["value"] / true - 1) < 0.05, name
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["runs"] == 64


def test_too_few_or_flat_runs_are_refused(client: httpx.Client) -> None:
    few = client.post("/scaling-laws/fit", json={"runs": runs(0.0)[:3]})
    assert few.status_code == 422
    flat = [{"parameters": 1e9, "tokens": 1e10, "loss": 2.0}] * 10
    response = client.post("/scaling-laws/fit", json={"runs": flat})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/runs"


def test_every_law_is_listed_with_its_source(client: httpx.Client) -> None:
    items = client.get("/scaling-laws").json()["items"]
    assert {"besiroglu-2024", "kaplan-2020", "hoffmann-2022-approach-1"} <= {
        item["law"] for item in items
    }
    assert all(item["source"] for item in items)


def test_each_law_states_its_constants_its_range_and_how_they_were_read(
    client: httpx.Client,
) -> None:
    items = {law["law"]: law for law in client.get("/scaling-laws").json()["items"]}
    default = items["besiroglu-2024"]
    assert default["constants"]["parameter_coefficient"] == 482.01
    assert default["form"].startswith("L = E + A / N^alpha")
    assert default["fitted"]["flops"] == [6e18, 3e21]
    assert default["checked"] == "full text"
    assert len(items["hoffmann-2022-approach-1"]["constants"]["flops"]) == 9
    assert items["kaplan-2020"]["constants"]["line_parameter_power"] == 0.73
    assert items["deepseek-2024"]["fitted"]["parameters"] is None
    assert "rounded_constants" in items["hoffmann-2022-approach-3-rounded"]["warnings"]


def test_the_constants_of_a_fit_are_a_law_to_ask_with(client: httpx.Client) -> None:
    fitted = client.post("/scaling-laws/fit", json={"runs": runs(0.002)}).json()
    names = ("irreducible", "parameter_coefficient", "token_coefficient")
    names += ("parameter_exponent", "token_exponent")
    law = {name: fitted[name]["value"] for name in names}
    body = {"budget": {"kind": "flops", "value": 1e22}, "law": law}
    answer = client.post("/compute-optimal", json=body).json()
    assert 6e9 < answer["optimum"]["parameters"]["value"] < 1.3e10


@pytest.mark.parametrize("field", ["parameters", "tokens", "loss"])
def test_a_run_of_next_to_nothing_is_no_run(client: httpx.Client, field: str) -> None:
    """Such numbers overflow in a fit."""
    found = [run | {field: 5e-324} for run in runs(0.002)]
    response = client.post("/scaling-laws/fit", json={"runs": found})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].endswith(field)
