"""Should this be a smaller model? Options for one traffic, with evidence and never a score."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import pytest

HOURS = 730.5
IN_USE = {
    "model": {"kind": "catalog", "name": "llama-3.1-70b"},
    "workload": {"kind": "inference", "weights": "bf16", "engine": "vllm"},
    "hardware": {"accelerator": "h100-sxm"},
    "site": {"grid_gco2e_per_kwh": 100, "pue": 1.2},
    "pricing": {"usd_per_device_hour": 2.5},
}
TRAFFIC = {
    "requests_per_second": 4,
    "peak_to_mean": 2,
    "prompt_tokens": {"mean": 1000, "p95": 4000},
    "output_tokens": {"mean": 300, "p95": 800},
}
BODY = {
    "request": IN_USE,
    "traffic": TRAFFIC,
    "latency": {"seconds_per_token": 0.1},
    "task": "knowledge",
    "horizon_months": 6,
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


def test_the_model_in_use_comes_first_then_formats_smaller_ones_adapters_and_a_cascade(
    found: dict[str, Any],
) -> None:
    names = [option["name"] for option in found["options"]]
    assert names[0] == "llama-3.1-70b bf16"
    assert {"llama-3.1-70b fp8", "llama-3.1-70b awq-int4-g128", "llama-3.1-8b bf16"} <= set(names)
    kinds = {how for option in found["options"] for how in option["how"]}
    assert {"smaller", "distilled", "pruned", "adapter", "cascade"} <= kinds
    assert len(names) == len(set(names))


def test_whole_devices_are_paid_and_the_making_comes_on_top(found: dict[str, Any]) -> None:
    tokens = 4 * 300 * HOURS * 3600
    for option in found["options"]:
        assert option["fit"] in ("fits", "at_risk", "does_not_fit")
        assert option["usd_per_month"] == pytest.approx(option["devices"] * 2.5 * HOURS)
        assert option["usd_per_million_output_tokens"] == pytest.approx(
            option["usd_per_month"] / tokens * 1e6
        )
        assert option["usd_over_horizon"] == pytest.approx(
            6 * option["usd_per_month"] + option["making_usd"]
        )
        shapes = [f["replicas"] * f["tensor"] * f["pipeline"] for f in option["fleets"]]
        assert sum(shapes) == option["devices"]


def test_adapters_cost_what_the_estimate_of_their_training_says(
    client: httpx.Client, found: dict[str, Any]
) -> None:
    (option,) = [o for o in found["options"] if "adapter" in o["how"]]
    job = {"kind": "finetuning", "method": "lora"}
    body = IN_USE | {"model": {"kind": "catalog", "name": option["model"]}, "workload": job}
    alone = client.post("/estimate", json=body).json()
    assert option["making_usd"] == pytest.approx(alone["cost"]["usd"]["value"])
    assert option["making_kgco2e"] == pytest.approx(alone["carbon"]["total_kgco2e"]["value"])
    saved = found["options"][0]["usd_per_month"] - option["usd_per_month"]
    assert option["payback_months"] == pytest.approx(option["making_usd"] / saved)


def test_quality_is_evidence_with_its_source_and_never_a_score(found: dict[str, Any]) -> None:
    eight = named(found, "llama-3.1-70b fp8")["quality"]
    assert eight["measured_on_task"]
    assert eight["findings"][0]["source"]
    assert eight["findings"][0]["same_task"]
    small = named(found, "llama-3.1-8b bf16")["quality"]
    assert not small["measured_on_task"]
    assert small["advice"].startswith("measure this on knowledge")
    assert not any("score" in key for option in found["options"] for key in option)


def test_a_task_that_nobody_measured_is_to_be_measured(client: httpx.Client) -> None:
    found = ask(client, task="extraction")
    for option in found["options"][1:]:
        assert option["quality"]["advice"].startswith("measure this on extraction")
    assert "quality-not-measured" in {warning["code"] for warning in found["warnings"]}


def test_a_larger_model_in_fewer_bits_stands_beside_each_smaller_one_or_is_said_to_lack(
    found: dict[str, Any],
) -> None:
    beside = {entry["smaller"] for entry in found["beside"]}
    missing = " ".join(
        warning["message"]
        for warning in found["warnings"]
        if warning["code"] == "nothing-larger-of-the-same-bytes"
    )
    for option in found["options"]:
        if option["how"] == ["smaller"]:
            assert option["name"] in beside or option["name"] in missing
    for entry in found["beside"]:
        small, large = named(found, entry["smaller"]), named(found, entry["larger"])
        assert large["parameters"] > small["parameters"]
        assert large["stored_bytes"] <= 1.25 * small["stored_bytes"]


def test_the_pareto_set_what_would_change_it_and_one_priced_experiment(
    found: dict[str, Any],
) -> None:
    names = {option["name"] for option in found["options"]}
    assert {o["name"] for o in found["options"] if o["pareto"]} == set(found["pareto"]) <= names
    assert found["experiment"]["gains"] == "money"
    assert [entry["rate_factor"] for entry in found["by_rate"]] == [0.1, 0.3, 1.0, 3.0, 10.0]
    assert all(set(entry["fewest_devices"]) <= names for entry in found["by_rate"])
    assert all(set(entry["fewest_devices"]) <= names for entry in found["by_output_length"])
    assert all(set(entry["cheapest_over_horizon"]) <= names for entry in found["by_price"])
    assert found["experiment"]["candidate"] in names
    assert 0 < found["experiment"]["usd"] < 100
    assert 0 < found["break_even_escalated_share"] < 1


def test_at_the_price_and_the_length_that_were_asked_the_answer_is_that_of_the_options(
    found: dict[str, Any],
) -> None:
    fitting = [o for o in found["options"] if o["fit"] != "does_not_fit"]
    (price,) = [p for p in found["by_price"] if p["price_factor"] == 1]
    least = min(o["usd_over_horizon"] for o in fitting)
    assert set(price["cheapest_over_horizon"]) == {
        o["name"] for o in fitting if o["usd_over_horizon"] == least
    }
    assert price["usd_per_month_in_use"] == found["options"][0]["usd_per_month"]
    (length,) = [o for o in found["by_output_length"] if o["output_factor"] == 1]
    (rate,) = [r for r in found["by_rate"] if r["rate_factor"] == 1]
    assert length["fewest_devices"] == rate["fewest_devices"]
    tokens = [entry["output_tokens"] for entry in found["by_output_length"]]
    assert tokens == sorted(set(tokens))


def test_half_and_a_quarter_lose_more_each_time_and_cost_less(found: dict[str, Any]) -> None:
    rungs = found["diminishing"]
    assert [rung["factor"] for rung in rungs] == [1.0, 0.5, 0.25]
    assert rungs[0]["loss_added"] == 0.0
    assert 0 < rungs[1]["loss_added"] < rungs[2]["loss_added"] - rungs[1]["loss_added"]
    for large, small in pairwise(rungs):
        assert small["weights_bytes"] == pytest.approx(large["weights_bytes"] / 2)
        for quantity in ("usd_per_million_output_tokens", "kgco2e_per_million_output_tokens"):
            assert small[quantity]["value"] < large[quantity]["value"]


def test_devices_at_hand_and_limits_rule_options_out(client: httpx.Client) -> None:
    few = IN_USE | {"hardware": {"accelerator": "h100-sxm", "count": 2}}
    large = ask(client, request=few)["options"][0]
    assert (large["fit"], large["pareto"]) == ("does_not_fit", False)
    assert large["reason"] == "needs 8 devices"
    never = ask(client, latency={"seconds_per_token": 1e-5})["options"]
    assert {option["reason"] for option in never} == {"latency"}
    assert all(option["usd_per_month"] is None for option in never)


def test_an_option_that_another_dominates_says_by_which(client: httpx.Client) -> None:
    found = ask(client, traffic=TRAFFIC | {"requests_per_second": 5}, task="chat")
    by = {option["name"]: option["dominated_by"] for option in found["options"]}
    assert any(by.values())
    for option in found["options"]:
        assert option["pareto"] == (option["fit"] != "does_not_fit" and not by[option["name"]])
        for other in (named(found, name) for name in option["dominated_by"]):
            assert other["usd_per_month"] <= option["usd_per_month"]
            assert other["devices"] <= option["devices"]
            for figure in ("kgco2e_per_month", "decode_seconds_per_token"):
                assert other[figure]["value"] <= option[figure]["value"]


def test_relatives_are_of_the_makers_line_and_of_its_generation(client: httpx.Client) -> None:
    mixtral = IN_USE | {"model": {"kind": "catalog", "name": "mixtral-8x7b"}}
    names = {option["model"] for option in ask(client, request=mixtral)["options"]}
    assert {"mistral-small-24b", "mistral-nemo-12b", "ministral-8b"} <= names
    llama = {option["model"] for option in ask(client, task="chat")["options"]}
    assert not {"llama-33b", "llama-2-13b", "code-llama-34b"} & llama


def test_there_is_always_an_experiment_and_its_price_where_there_is_an_option(
    client: httpx.Client,
) -> None:
    small = {
        "model": {"kind": "catalog", "name": "qwen3-0.6b"},
        "workload": {"kind": "inference"},
        "hardware": {"accelerator": "l40s"},
        "pricing": {"usd_per_device_hour": 1},
    }
    found = ask(client, request=small, traffic={"requests_per_second": 0.1})
    assert "no-smaller-relative" in {warning["code"] for warning in found["warnings"]}
    assert found["experiment"]["gains"] != "money"
    assert found["experiment"]["usd"] > 0
    assert found["experiment"]["why"].startswith("no option saves money at this load; ")
    lone = ask(client, request=small, traffic={"requests_per_second": 0.1}, formats=["bf16"])
    assert lone["experiment"] is None
    assert "nothing-to-try" in {warning["code"] for warning in lone["warnings"]}


def test_what_belongs_in_the_request_is_said_to(client: httpx.Client) -> None:
    beside = BODY | {"model": IN_USE["model"], "pricing": {"usd_per_device_hour": 2}}
    for body in (beside, {k: v for k, v in beside.items() if k != "request"}):
        response = client.post("/alternatives", json=body)
        assert response.status_code == 422
        assert {error["pointer"] for error in response.json()["errors"]} == {"/model", "/pricing"}
        assert "inside `request`" in response.json()["detail"]


def test_a_candidate_of_ones_own_is_compared(client: httpx.Client) -> None:
    own = {
        "name": "ours",
        "model": {"kind": "catalog", "name": "qwen3-8b"},
        "how": ["distilled"],
        "making_usd": 5000,
    }
    option = named(ask(client, candidates=[own]), "ours")
    assert option["how"] == ["distilled"]
    assert option["making_usd"] == 5000
    assert option["payback_months"] > 0


def test_a_candidate_that_is_no_smaller_is_not_said_to_be(client: httpx.Client) -> None:
    own = {"name": "larger", "model": {"kind": "catalog", "name": "llama-3.1-405b"}}
    option = named(ask(client, candidates=[own]), "larger")
    assert option["how"] == ["other"]
    assert not option["quality"]["measured_on_task"]


def test_a_model_without_attention_is_compared(client: httpx.Client) -> None:
    mamba = IN_USE | {"model": {"kind": "catalog", "name": "mamba-2.8b"}}
    found = ask(client, request=mamba)
    assert found["options"][0]["fit"] == "fits"
    assert found["experiment"]["usd"] > 0


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"request": IN_USE | {"workload": {"kind": "pretraining"}}}, "/request/workload"),
        ({"request": IN_USE | {"layout": {"tensor": 2}}}, "/request/layout"),
        ({"request": IN_USE | {"model": {"kind": "size", "parameters": 7e9}}}, "/request/model"),
        ({"formats": ["fp8", "int3"]}, "/formats/1"),
        ({"task": "singing"}, "/task"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    response = client.post("/alternatives", json=BODY | changes)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"model": {"kind": "catalog", "name": "no-such"}}, "/request/model/name"),
        ({"model": {"kind": "size", "parameters": 10**9}}, "/request/model"),
        ({"hardware": {"accelerator": "no-such"}}, "/request/hardware/accelerator"),
        ({"site": {"region": "no-such"}}, "/request/site/region"),
        (
            {
                "workload": {
                    "kind": "inference",
                    "draft": {"tokens": 2, "acceptance": 0.5, "relative_cost": 0.1},
                }
            },
            "/request/workload/draft",
        ),
    ],
)
def test_a_field_of_the_inner_request_is_pointed_at_where_it_stands(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    body = BODY | {"request": BODY["request"] | changes}
    response = client.post("/alternatives", json=body)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_a_field_of_a_candidate_is_pointed_at_where_it_stands(client: httpx.Client) -> None:
    mine = {"name": "mine", "model": {"kind": "catalog", "name": "gpt-2"}}
    other = {"name": "other", "model": {"kind": "catalog", "name": "no-such"}}
    response = client.post("/alternatives", json=BODY | {"candidates": [mine, other]})
    assert response.status_code == 422
    assert [e["pointer"] for e in response.json()["errors"]] == ["/candidates/1/model/name"]


def test_assumptions_name_the_fields_of_this_body(found: dict[str, Any]) -> None:
    inner = ("/model", "/workload", "/site", "/hardware", "/pricing")
    assert not [a["field"] for a in found["assumptions"] if a["field"].startswith(inner)]
    assert any(a["field"].startswith("/request/") for a in found["assumptions"])


def test_a_device_of_ones_own_needs_no_price_but_a_zero(client: httpx.Client) -> None:
    request = {
        "model": {"kind": "catalog", "name": "llama-3.2-3b"},
        "workload": {"kind": "inference", "weights": "gguf:Q4_K_M", "engine": "llama.cpp"},
        "hardware": {"accelerator": "jetson-agx-orin-64gb", "count": 1},
    }
    body: dict[str, Any] = BODY | {"request": request, "traffic": {"requests_per_second": 0.02}}
    refused = client.post("/alternatives", json=body).json()
    assert "0 to leave money out" in refused["detail"]
    body["request"] = request | {"pricing": {"usd_per_device_hour": 0}}
    options = client.post("/alternatives", json=body).json()["options"]
    assert {option["usd_per_month"] for option in options if option["devices"]} == {0}
    assert min(option["kgco2e_per_month"]["value"] for option in options if option["devices"]) > 0


def test_a_fleet_is_the_one_that_the_estimate_of_its_model_sizes(
    client: httpx.Client, found: dict[str, Any]
) -> None:
    load = {"requests_per_second": 4, "peak_to_mean": 2, "latency": BODY["latency"]}
    lengths = {"prompt_tokens": 1000, "output_tokens": 300, "longest_tokens": 4800, "load": load}
    alone = [one for one in found["options"] if not {"cascade", "adapter"} & set(one["how"])]
    for option in alone:
        workload = lengths | {"kind": "inference", "weights": option["weights"]}
        model = {"kind": "catalog", "name": option["model"]}
        changed = IN_USE | {"model": model, "workload": workload}
        response = client.post("/estimate", json=changed)
        answered = response.json()["serving"]
        fleet = answered["fleet"]
        assert answered["weights_bytes"] == option["stored_bytes"]
        assert fleet["devices"] == option["devices"]
        assert fleet["decode_seconds_per_token"] == option["decode_seconds_per_token"]
        million = "usd_per_million_output_tokens"
        assert fleet[million] == pytest.approx(option[million])
