"""A smaller encoder: one pass for a request, no tokens out, and what was measured of the pair."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

IN_USE = {
    "model": {"kind": "catalog", "name": "bert-base"},
    "workload": {"kind": "inference"},
    "hardware": {"accelerator": "l40s"},
    "site": {"grid_gco2e_per_kwh": 100, "pue": 1.2},
    "pricing": {"usd_per_device_hour": 1.0},
}
BODY = {
    "request": IN_USE,
    "traffic": {"requests_per_second": 5000, "prompt_tokens": {"mean": 128, "p95": 384}},
    "latency": {"request_seconds": 0.2},
    "task": "classification",
}


def ask(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = client.post("/alternatives", json=BODY | changes)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture(scope="module")
def found(server_url: str) -> dict[str, Any]:
    with httpx.Client(base_url=server_url, timeout=60) as client:
        return ask(client)


def named(found: dict[str, Any], name: str) -> dict[str, Any]:
    option: dict[str, Any] = next(o for o in found["options"] if o["name"] == name)
    return option


def test_smaller_encoders_stand_beside_bert_with_what_was_measured_of_the_pair(
    found: dict[str, Any],
) -> None:
    student = named(found, "distilbert bf16")
    assert student["how"] == ["smaller", "distilled"]
    assert student["quality"]["measured_on_task"]
    first = student["quality"]["findings"][0]
    assert (first["id"], first["same_pair"], first["same_task"]) == ("distilbert", True, True)
    assert first["numbers"]["glue_ratio"] == pytest.approx(0.9686)
    assert "1910.01108" in first["source"]
    other = named(found, "minilm-l6-v2 bf16")["quality"]
    assert not other["measured_on_task"]
    assert other["advice"].startswith("measure this on classification")


def test_an_encoder_answers_requests_and_has_no_tokens(found: dict[str, Any]) -> None:
    requests = 5000 * 730.5 * 3600
    for option in found["options"]:
        assert option["decode_seconds_per_token"] is None
        assert option["usd_per_million_output_tokens"] is None
        assert option["kgco2e_per_million_output_tokens"] is None
        assert option["usd_per_million_requests"] == pytest.approx(
            option["usd_per_month"] / requests * 1e6
        )
        assert 0 < option["first_token_seconds"]["low"] < option["first_token_seconds"]["high"]
    assert found["by_output_length"] == []
    assert found["diminishing"] == []
    codes = {warning["code"] for warning in found["warnings"]}
    assert {"encoder-not-measured", "encoder-not-scaled"} <= codes
    assert found["experiment"]["usd"] > 0


def test_weights_and_parameters_are_those_of_the_estimate(
    client: httpx.Client, found: dict[str, Any]
) -> None:
    for name in ("bert-base bf16", "distilbert bf16", "tinybert bf16"):
        option = named(found, name)
        model = {"kind": "catalog", "name": option["model"]}
        alone = client.post("/estimate", json=IN_USE | {"model": model}).json()
        assert option["parameters"] == alone["parameters"]["total"]
        assert option["stored_bytes"] == 2 * alone["parameters"]["total"]


def test_a_smaller_encoder_is_faster_and_cleaner_but_one_that_shares_layers_hardly(
    found: dict[str, Any],
) -> None:
    base, student = named(found, "bert-base bf16"), named(found, "distilbert bf16")
    capacity = "capacity_requests_per_second"
    gained = student["fleets"][0][capacity] / student["devices"]
    gained /= base["fleets"][0][capacity] / base["devices"]
    assert 1.4 < gained < 2.1
    assert student["kgco2e_per_month"]["value"] < base["kgco2e_per_month"]["value"]


def test_under_the_engine_that_was_measured_nothing_warns_of_it(client: httpx.Client) -> None:
    trt = {"kind": "inference", "engine": "tensorrt-llm"}
    found = ask(client, request=IN_USE | {"workload": trt})
    codes = {warning["code"] for warning in found["warnings"]}
    assert not {"encoder-not-measured", "serving-not-calibrated-engine"} & codes
    assert {option["weights"] for option in found["options"]} == {"bf16", "int8"}
    assert {fleet["calibration"] for o in found["options"] for fleet in o["fleets"]} == {"pair"}


def test_a_config_that_the_catalog_knows_has_the_evidence_of_its_model(
    client: httpx.Client, found: dict[str, Any]
) -> None:
    facts = client.get("/models/bert-base").json()
    config = facts["architecture"]["config"]
    model = {"kind": "huggingface", "config": config}
    sent = ask(client, request=IN_USE | {"model": model})
    assert sent["options"][0]["name"] == "the model in use bf16"
    for ours, theirs in zip(sent["options"][1:], found["options"][1:], strict=True):
        assert ours["model"] in (theirs["model"], "the model in use")
        assert ours["quality"] == theirs["quality"]
        assert ours["usd_per_month"] == theirs["usd_per_month"]


def test_another_task_is_to_be_measured(client: httpx.Client) -> None:
    found = ask(client, task="retrieval")
    assert not named(found, "distilbert bf16")["quality"]["measured_on_task"]


def test_a_prompt_that_is_left_out_is_no_longer_than_the_model_reads(client: httpx.Client) -> None:
    found = ask(client, traffic={"requests_per_second": 10})
    lengths = {a["field"]: a["value"] for a in found["assumptions"]}
    assert lengths["/request/workload/prompt_tokens"] == 512
    assert "sequence-beyond-limit" not in {warning["code"] for warning in found["warnings"]}
    assert "distilbert bf16" in {option["name"] for option in found["options"]}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        (
            {"traffic": {"requests_per_second": 1, "output_tokens": {"mean": 5}}},
            "/traffic/output_tokens",
        ),
        ({"latency": {"seconds_per_token": 0.1}}, "/latency/seconds_per_token"),
        ({"training_tokens": 1e9}, "/training_tokens"),
        (
            {"request": IN_USE | {"workload": {"kind": "inference", "output_tokens": 8}}},
            "/request/workload/output_tokens",
        ),
        (
            {"candidates": [{"name": "own", "model": {"kind": "catalog", "name": "gpt-2"}}]},
            "/candidates/0/model",
        ),
        (
            {"request": IN_USE | {"model": {"kind": "catalog", "name": "resnet-50"}}},
            "/request/model",
        ),
    ],
)
def test_what_an_encoder_has_not_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    response = client.post("/alternatives", json=BODY | changes)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
