"""What a serving answer says beside its speed: caches, concurrency, loads and fleets."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

H100 = {"accelerator": "h100-sxm", "count": 1}
JOB = {"kind": "inference", "prompt_tokens": 1000, "output_tokens": 200, "concurrency": 8}
SITE = {"grid_gco2e_per_kwh": 360, "pue": 1.0}


def ask(client: httpx.Client, model: str = "llama-3.1-8b", **changes: Any) -> dict[str, Any]:
    """The serving section; `changes` of the workload."""
    body = {
        "model": {"kind": "catalog", "name": model},
        "workload": JOB | changes,
        "hardware": H100,
        "site": SITE,
        "pricing": {"usd_per_device_hour": 2.5},
    }
    response = client.post("/estimate", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["serving"]
    return found


def test_a_request_needs_its_whole_blocks_of_cache(client: httpx.Client) -> None:
    found = ask(client)
    blocks = 1200
    assert found["kv_cache_bytes_per_request_per_device"] == 131_072 * blocks
    assert found["kv_cache_reserved_bytes_per_request_per_device"] == 131_072 * blocks
    assert found["max_concurrency"] == found["kv_cache_budget_bytes"] // (131_072 * blocks)


def test_a_sliding_window_needs_less_than_engines_reserve(client: httpx.Client) -> None:
    found = ask(client, "gemma-2-2b", prompt_tokens=7_000)
    assert (
        found["kv_cache_bytes_per_request_per_device"]
        < found["kv_cache_reserved_bytes_per_request_per_device"]
    )


def test_the_longest_request_sets_the_floor_and_the_mean_one_what_is_admitted(
    client: httpx.Client,
) -> None:
    alike, mixed = ask(client), ask(client, longest_tokens=12_000)
    assert mixed["mean_concurrency"] == alike["mean_concurrency"] == alike["max_concurrency"]
    assert mixed["max_concurrency"] == pytest.approx(alike["max_concurrency"] / 10, abs=1)


def test_a_first_token_comes_with_its_load_and_later_than_an_idle_prefill(
    client: httpx.Client,
) -> None:
    few, many = ask(client), ask(client, concurrency=64)
    assert (few["in_flight"], many["in_flight"]) == (8, 64)
    assert few["prefill_seconds"] == many["prefill_seconds"]
    assert (
        few["prefill_seconds"]["value"]
        < few["first_token_seconds"]["value"]
        < many["first_token_seconds"]["value"]
    )


def test_a_cached_prefix_shortens_the_prefill_only_as_far_as_it_reaches(
    client: httpx.Client,
) -> None:
    whole, cached = (
        ask(client, prompt_tokens=8_000),
        ask(client, prompt_tokens=8_000, cached_prefix_tokens=6_000),
    )
    assert cached["prefill_seconds"]["value"] < 0.5 * whole["prefill_seconds"]["value"]
    held = "kv_cache_bytes_per_request_per_device"
    assert cached[held] == whole[held]


def test_carbon_of_a_token_is_its_energy_on_the_grid(client: httpx.Client) -> None:
    found = ask(client)
    joules = found["joules_per_output_token"]["value"]
    assert found["gco2e_per_output_token"]["value"] == pytest.approx(joules / 3.6e6 * 360)
    assert found["calibration"] == "pair"
    assert found["fleet"] is None


def test_a_fleet_is_paid_at_the_real_utilisation(client: httpx.Client) -> None:
    load = {"requests_per_second": 2, "peak_to_mean": 2, "latency": {"seconds_per_token": 0.1}}
    fleet = ask(client, load=load)["fleet"]
    assert fleet["fits"] == "fits"
    assert fleet["devices"] == fleet["replicas"] * fleet["tensor"] * fleet["pipeline"]
    assert fleet["utilization"] == pytest.approx(2 / fleet["capacity_requests_per_second"])
    paid = fleet["devices"] * 2.5 / (2 * 200 * 3600) * 1e6
    assert fleet["usd_per_million_output_tokens"] == pytest.approx(paid)
    grams = fleet["joules_per_output_token"]["value"] / 3.6e6 * 360
    assert fleet["kgco2e_per_million_output_tokens"]["value"] == pytest.approx(grams * 1e3)
    busier = ask(client, load=load | {"requests_per_second": 200})["fleet"]
    assert busier["replicas"] > fleet["replicas"]
    assert busier["usd_per_million_output_tokens"] < paid


def test_limits_that_nothing_meets_are_named(client: httpx.Client) -> None:
    load = {"requests_per_second": 2, "latency": {"first_token_seconds": 1e-5}}
    fleet = ask(client, load=load)["fleet"]
    assert (fleet["fits"], fleet["reason"]) == ("does_not_fit", "first_token_seconds")
    assert fleet["devices"] is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"longest_tokens": 1_199}, "/workload/longest_tokens"),
        ({"cached_prefix_tokens": 1_000}, "/workload/cached_prefix_tokens"),
        ({"load": {"requests_per_second": 0}}, "/workload/inference/load/requests_per_second"),
    ],
)
def test_what_contradicts_itself_is_refused(
    client: httpx.Client, changes: dict[str, Any], pointer: str
) -> None:
    body = {"model": {"kind": "catalog", "name": "gpt-2"}, "workload": JOB | changes}
    response = client.post("/estimate", json=body)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"].replace("/inference", "") == pointer.replace("/inference", "")


def test_a_draft_speeds_up_what_it_guesses_and_takes_its_memory(client: httpx.Client) -> None:
    small = {"kind": "catalog", "name": "llama-3.2-1b"}
    plain = ask(client, concurrency=1)
    drafted = ask(client, concurrency=1, draft={"tokens": 3, "acceptance": 0.8, "model": small})
    found = drafted["drafting"]
    assert plain["drafting"] is None
    assert found["tokens_per_verification"] == pytest.approx((1 - 0.8**4) / 0.2)
    assert found["weights_bytes"] == 2 * 1_235_814_400
    assert found["kv_cache_bytes_per_token"] == 2 * 16 * 8 * 64 * 2
    seconds = [a["decode_seconds_per_token"]["value"] for a in (plain, drafted)]
    assert found["speed_ratio"] == pytest.approx(seconds[0] / seconds[1])
    assert drafted["max_concurrency"] < plain["max_concurrency"]
    assert drafted["weights_bytes"] == plain["weights_bytes"]


def test_a_draft_that_is_never_right_costs_time_and_that_is_said(client: httpx.Client) -> None:
    body = {
        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
        "workload": JOB | {"draft": {"tokens": 4, "acceptance": 0, "relative_cost": 0.2}},
        "hardware": H100,
    }
    (item,) = client.post("/estimate/batch", json={"requests": [body]}).json()["items"]
    codes = [warning["code"] for warning in item["estimate"]["warnings"]]
    assert "draft-does-not-pay" in codes
    assert item["estimate"]["serving"]["drafting"]["tokens_per_verification"] == 1.0


@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        ({"model": {"kind": "catalog", "name": "no-such"}}, "/workload/draft/model/name"),
        ({"model": {"kind": "size", "parameters": 10**9}}, "/workload/draft/model"),
        ({"model": {"kind": "catalog", "name": "t5-base"}}, "/workload/draft/model"),
        (
            {"model": {"kind": "catalog", "name": "gpt-2"}, "weights": "int3"},
            "/workload/draft/weights",
        ),
        ({}, "/workload/inference/draft"),
        ({"relative_cost": 0.1, "weights": "fp8"}, "/workload/inference/draft"),
    ],
)
def test_a_draft_that_cannot_be_is_refused_at_its_own_field(
    client: httpx.Client, draft: dict[str, Any], pointer: str
) -> None:
    workload = JOB | {"draft": {"tokens": 4, "acceptance": 0.7} | draft}
    body = {"model": {"kind": "catalog", "name": "gpt-2"}, "workload": workload}
    response = client.post("/estimate", json=body)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"].replace("/inference", "") == pointer.replace("/inference", "")


def test_where_only_the_draft_does_not_fit_leaving_it_out_is_the_smallest_change(
    client: httpx.Client,
) -> None:
    draft = {
        "tokens": 4,
        "acceptance": 0.7,
        "model": {"kind": "catalog", "name": "llama-3.1-70b"},
    }
    body = {
        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
        "workload": JOB | {"draft": draft},
        "hardware": H100,
    }
    verdict = client.post("/estimate", json=body).json()["verdict"]
    assert verdict["admission"] == "does_not_fit"
    patches = [change["patch"] for change in verdict["smallest_changes"]]
    assert {"workload": {"kind": "inference", "draft": None}} in patches


def replica(client: httpx.Client, layout: dict[str, Any], count: int | None = None) -> Any:
    return client.post(
        "/estimate",
        json={
            "model": {"kind": "catalog", "name": "qwen3-235b-a22b"},
            "workload": JOB | {"concurrency": 256, "weights": "fp8"},
            "hardware": {"accelerator": "h200-sxm"} | ({"count": count} if count else {}),
            "layout": layout,
        },
    )


def test_expert_ways_beyond_the_tensor_ways_deal_sequences_to_groups(client: httpx.Client) -> None:
    dealt = replica(client, {"tensor": 2, "expert": 8}, 8).json()
    whole = replica(client, {"tensor": 4}, 4).json()
    assert {name: dealt["layout"][name] for name in ("devices", "tensor", "data", "expert")} == {
        "devices": 8,
        "tensor": 2,
        "data": 4,
        "expert": 8,
    }
    heads = 4
    per_token = "kv_cache_bytes_per_token_per_device"
    assert dealt["serving"][per_token] == 94 * 2 * (heads / 2) * 128 * 2
    assert dealt["serving"][per_token] == 2 * whole["serving"][per_token]


@pytest.mark.parametrize(
    ("layout", "count", "pointer"),
    [
        ({"tensor": 4, "expert": 6}, None, "/layout/expert"),
        ({"expert": 48}, None, "/layout/expert"),
        ({"tensor": 2, "expert": 8}, 2, "/hardware/count"),
        ({"tensor": 2, "context": 2}, None, "/layout/context"),
        ({"tensor": 2, "zero_stage": 3}, None, "/layout/zero_stage"),
    ],
)
def test_a_replica_that_cannot_be_built_says_which_degree_to_change(
    client: httpx.Client, layout: dict[str, Any], count: int | None, pointer: str
) -> None:
    response = replica(client, layout, count)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(("longest", "warned"), [(2_048, False), (2_049, True)])
def test_more_tokens_than_the_model_reads_are_warned_of(
    client: httpx.Client, longest: int, warned: bool
) -> None:
    body = {
        "model": {"kind": "catalog", "name": "llama-33b"},
        "workload": JOB | {"longest_tokens": longest},
        "hardware": {"accelerator": "h100-sxm", "count": 2},
    }
    codes = {each["code"] for each in client.post("/estimate", json=body).json()["warnings"]}
    assert ("sequence-beyond-limit" in codes) == warned


@pytest.mark.parametrize(
    ("model", "count", "tensor", "pipeline"),
    [("whisper-large-v3", 8, 4, 2), ("mamba-2.8b", 4, 1, 4), ("llama-3.1-8b", 4, 4, 1)],
)
def test_a_bare_count_of_devices_becomes_tensor_ways_that_divide_the_heads(
    client: httpx.Client, model: str, count: int, tensor: int, pipeline: int
) -> None:
    body = {
        "model": {"kind": "catalog", "name": model},
        "workload": {"kind": "inference"},
        "hardware": {"accelerator": "h100-sxm", "count": count},
    }
    layout = client.post("/estimate", json=body).json()["layout"]
    assert (layout["tensor"], layout["pipeline"]) == (tensor, pipeline)


def test_formats_that_an_engine_was_not_measured_with_are_said_and_less_sure(
    client: httpx.Client,
) -> None:
    def asked(weights: str) -> tuple[set[str], float]:
        body = {
            "model": {"kind": "catalog", "name": "llama-3.1-8b"},
            "workload": JOB | {"weights": weights},
            "hardware": H100,
        }
        found = client.post("/estimate", json=body).json()
        step = found["serving"]["decode_seconds_per_token"]
        return {each["code"] for each in found["warnings"]}, step["high"] / step["value"]

    (said, wide), (silent, narrow) = asked("nvfp4"), asked("fp8")
    assert "serving-format-not-measured" in said - silent
    assert wide > narrow


@pytest.mark.parametrize(
    ("engine", "concurrency", "data"),
    [("tensorrt-llm", 1_024, 8), ("tensorrt-llm", 63, 1), ("vllm", 1_024, 1)],
)
def test_a_loaded_mixture_on_a_bare_count_is_served_as_its_engine_does(
    client: httpx.Client, engine: str, concurrency: int, data: int
) -> None:
    body = {
        "model": {"kind": "catalog", "name": "qwen3-30b-a3b"},
        "workload": JOB | {"engine": engine, "concurrency": concurrency, "weights": "fp8"},
        "hardware": {"accelerator": "h200-sxm", "count": 4 if data == 1 else 8},
    }
    found = client.post("/estimate", json=body).json()
    assert found["layout"]["data"] == data
    said = {each["field"]: each["value"] for each in found["assumptions"]}
    assert said["/layout/attention_data_parallel"] is (data > 1)


@pytest.mark.parametrize(
    ("model", "status"), [("deepseek-v2-lite", 200), ("llama-3.1-8b", 422), ("mamba-2.8b", 422)]
)
def test_a_cache_of_latents_is_for_latent_attention(
    client: httpx.Client, model: str, status: int
) -> None:
    body = {
        "model": {"kind": "catalog", "name": model},
        "workload": JOB | {"kv_cache": "fp8-ds-mla"},
        "hardware": H100,
    }
    response = client.post("/estimate", json=body)
    assert response.status_code == status
    if status == 422:
        assert response.json()["errors"][0]["pointer"] == "/workload/kv_cache"
