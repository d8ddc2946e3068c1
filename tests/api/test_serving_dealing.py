"""Attention data parallelism of served mixtures: one field, for /estimate, fleets and sweeps."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.resources import files
from statistics import median
from typing import Any

import httpx
import pytest

from tests.api.test_estimate import ask
from tests.api.test_sweep import sweep

FIELD = "/layout/attention_data_parallel"
LOADED = {"kind": "inference", "engine": "tensorrt-llm", "weights": "fp8", "concurrency": 1_024}


def asked(
    layout: Mapping[str, Any] | None = None,
    model: str = "qwen3-235b-a22b",
    **workload: Any,
) -> dict[str, Any]:
    body = {
        "model": {"kind": "catalog", "name": model},
        "workload": LOADED | workload,
        "hardware": {"accelerator": "h200-sxm", "count": 8},
    }
    return body | ({"layout": dict(layout)} if layout is not None else {})


def told(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The assumption about the field, if any."""
    return next((each for each in answer["assumptions"] if each["field"] == FIELD), None)


def published() -> list[Mapping[str, str]]:
    """NVIDIA's rows of mixtures on eight devices, as version 1.0 has them."""
    text = files("service.calibration").joinpath("data/serving.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return [row for row in rows if "(v1.0)" in row["source"] and row["data"] == "8"]


def off(client: httpx.Client, row: Mapping[str, str], layout: Mapping[str, Any]) -> float:
    """How far an answer is from a row."""
    body = {
        "model": {"kind": "catalog", "name": row["model"]},
        "workload": LOADED
        | {"weights": row["weights"], "kv_cache": row["cache"]}
        | {k: int(row[k]) for k in ("concurrency", "prompt_tokens", "output_tokens")},
        "hardware": {"accelerator": row["accelerator"]},
        "layout": layout,
    }
    found = ask(client, body)["serving"]["output_tokens_per_second"]["value"]
    return abs(found / float(row["value"]) - 1.0)


def test_rows_published_as_tensor_8_are_near_when_they_are_asked_so(client: httpx.Client) -> None:
    rows = published()
    assert len(rows) == 39
    for model in ("qwen3-235b-a22b", "llama-4-maverick"):
        mine = [row for row in rows if row["model"] == model]
        near = median(off(client, row, {"tensor": 8}) for row in mine)
        divided = {"tensor": 8, "attention_data_parallel": False}
        assert near < 0.15 < median(off(client, row, divided) for row in mine)


def test_the_answer_says_which_was_taken_and_how_to_ask_for_the_other(client: httpx.Client) -> None:
    dealt = ask(client, asked({"tensor": 8}))
    assert (dealt["layout"]["data"], dealt["layout"]["attention_data_parallel"]) == (8, True)
    found = told(dealt)
    assert found is not None
    assert found["value"] is True
    divided = ask(client, asked({"tensor": 8, "attention_data_parallel": False}))
    assert (divided["layout"]["tensor"], divided["layout"]["data"]) == (8, 1)
    assert told(divided) is None
    assert divided["serving"] != dealt["serving"]


def test_pipeline_stages_deal_their_sequences_too(client: httpx.Client) -> None:
    found = ask(client, asked({"tensor": 4, "pipeline": 2}))
    assert (found["layout"]["data"], found["layout"]["pipeline"]) == (4, 2)
    assert (told(found) or {})["value"] is True


@pytest.mark.parametrize(
    "layout", [None, {"expert": 8}, {"tensor": 8, "attention_data_parallel": True}]
)
def test_the_same_spread_has_the_same_answer_however_it_is_asked(
    client: httpx.Client, layout: Mapping[str, Any] | None
) -> None:
    assert ask(client, asked(layout))["serving"] == ask(client, asked({"tensor": 8}))["serving"]


@pytest.mark.parametrize(
    ("layout", "workload"),
    [
        ({"tensor": 8}, {"concurrency": 127}),
        ({"tensor": 4, "pipeline": 2}, {"concurrency": 127}),
        ({"tensor": 8}, {"engine": "vllm"}),
        ({"tensor": 8}, {"engine": "sglang"}),
    ],
)
def test_elsewhere_the_engines_own_default_stands_and_is_said(
    client: httpx.Client, layout: Mapping[str, Any], workload: Mapping[str, Any]
) -> None:
    found = ask(client, asked(layout, **workload))
    assert found["layout"]["data"] == 1
    assert (told(found) or {})["value"] is False


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_latent_attention_holds_many_more_sequences_with_sequences_of_their_own(
    client: httpx.Client, engine: str
) -> None:
    """A latent cache cannot be divided over heads: tensor ways keep it whole on each device."""

    def held(own: bool) -> Any:
        layout = {"tensor": 8, "attention_data_parallel": own}
        return ask(client, asked(layout, "deepseek-v3", engine=engine, concurrency=512))

    dealt, divided = held(True), held(False)
    token = "kv_cache_bytes_per_token_per_device"
    assert dealt["serving"][token] == divided["serving"][token]
    ratio = dealt["serving"]["max_concurrency"] / divided["serving"]["max_concurrency"]
    budgets = [found["serving"]["kv_cache_budget_bytes"] for found in (dealt, divided)]
    assert budgets[0] < budgets[1]
    assert ratio == pytest.approx(8.0 * budgets[0] / budgets[1], rel=0.02)
    codes = [{each["code"] for each in found["warnings"]} for found in (dealt, divided)]
    assert "serving-dealing-not-measured" in codes[0] - codes[1]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (asked({"attention_data_parallel": True}, "llama-3.1-70b"), FIELD),
        (asked({"attention_data_parallel": True}, engine="transformers"), FIELD),
        (asked({"expert": 8, "attention_data_parallel": False}), FIELD),
        (asked({"attention_data_parallel": True}) | {"hardware": {"count": 6}}, FIELD),
        (asked({"tensor": 8, "attention_data_parallel": 8}), FIELD),
        (
            {
                "model": {"kind": "catalog", "name": "qwen3-30b-a3b"},
                "workload": {"kind": "pretraining", "tokens": 1e9},
                "layout": {"attention_data_parallel": True},
            },
            FIELD,
        ),
    ],
)
def test_what_no_engine_does_is_refused_where_it_was_asked(
    client: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    response = client.post("/estimate", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


def test_a_search_for_devices_keeps_to_what_was_asked(client: httpx.Client) -> None:
    def sought(layout: Mapping[str, Any] | None) -> Any:
        body = asked(layout, concurrency=256) | {"hardware": {"accelerator": "h200-sxm"}}
        return ask(client, body)

    own = sought({"attention_data_parallel": True})
    assert (own["layout"]["tensor"], own["layout"]["data"]) == (1, own["layout"]["devices"])
    divided = sought({"attention_data_parallel": False})
    assert (divided["layout"]["data"], divided["layout"]["tensor"]) == (
        1,
        divided["layout"]["devices"],
    )
    open_one = sought(None)
    count = open_one["layout"]["devices"]
    bare = asked(concurrency=256) | {"hardware": {"accelerator": "h200-sxm", "count": count}}
    assert ask(client, bare)["serving"] == open_one["serving"]


def test_the_fewest_devices_of_a_dealt_mixture_count_all_of_them(client: httpx.Client) -> None:
    found = ask(client, asked({"tensor": 8}, concurrency=256) | {"limits": True})
    fewest = found["verdict"]["fewest_devices"]
    assert 2 <= fewest <= 8
    bare = asked(concurrency=256) | {"hardware": {"accelerator": "h200-sxm", "count": fewest}}
    assert ask(client, bare)["verdict"]["admission"] == "fits"


@pytest.mark.parametrize("layout", [None, {"tensor": 4}])
def test_sequences_are_divided_unasked_where_only_that_fits(
    client: httpx.Client, layout: Mapping[str, Any] | None
) -> None:
    """Four H100 have no room for four copies of the attention's weights beside the caches."""
    long = {"concurrency": 64, "prompt_tokens": 8_000, "output_tokens": 1_000, "kv_cache": "fp8"}
    four = {"hardware": {"accelerator": "h100-sxm", "count": 4}, "limits": True}

    def on_four(layout: Mapping[str, Any] | None, **workload: Any) -> dict[str, Any]:
        return ask(client, asked(layout, **long | workload) | four)

    open_one = on_four(layout)
    divided = on_four({"tensor": 4, "attention_data_parallel": False})
    assert (open_one["serving"], open_one["layout"]) == (divided["serving"], divided["layout"])
    assert (told(open_one) or {})["value"] is False
    assert on_four({"attention_data_parallel": True})["verdict"]["admission"] == "does_not_fit"
    neither = on_four(layout, prompt_tokens=30_000)
    assert neither["verdict"]["admission"] == "does_not_fit"
    assert (told(neither) or {})["value"] is True


FLEET = {"load": {"requests_per_second": 60}, "prompt_tokens": 1_000, "output_tokens": 1_000}


def test_a_fleet_of_a_mixture_is_sized_both_ways_or_as_asked(client: httpx.Client) -> None:
    def fleet(layout: Mapping[str, Any] | None, **workload: Any) -> Any:
        return ask(client, asked(layout, **FLEET, **workload))["serving"]["fleet"]

    own = fleet({"attention_data_parallel": True})
    divided = fleet({"attention_data_parallel": False})
    assert (own["attention_data_parallel"], divided["attention_data_parallel"]) == (True, False)
    for found in (own, divided):
        assert found["devices"] == found["replicas"] * found["tensor"] * found["pipeline"]
    assert fleet(None)["devices"] == min(own["devices"], divided["devices"])
    assert fleet(None, engine="vllm")["attention_data_parallel"] is False
    assert fleet({"attention_data_parallel": True}, engine="vllm")["attention_data_parallel"]


@pytest.mark.parametrize("own", [True, False])
def test_alternatives_deal_a_mixture_as_asked_and_never_a_dense_model(
    client: httpx.Client, own: bool
) -> None:
    request = asked({"attention_data_parallel": own})
    del request["hardware"]["count"]
    body = {
        "request": request | {"pricing": {"usd_per_device_hour": 3}},
        "traffic": {
            "requests_per_second": 60,
            "prompt_tokens": {"mean": 1_000},
            "output_tokens": {"mean": 1_000},
        },
        "task": "chat",
        "formats": ["fp8"],
        "candidates": [{"name": "dense", "model": {"kind": "catalog", "name": "qwen3-32b"}}],
    }
    response = client.post("/alternatives", json=body)
    assert response.status_code == 200, response.text
    options = {each["name"]: each for each in response.json()["options"]}
    (mixture,) = options["qwen3-235b-a22b fp8"]["fleets"]
    assert mixture["attention_data_parallel"] is own
    (dense,) = options["dense"]["fleets"]
    assert dense["attention_data_parallel"] is False
    sized = ask(client, asked({"attention_data_parallel": own}, **FLEET))["serving"]["fleet"]
    assert mixture["replicas"] * mixture["tensor"] * mixture["pipeline"] == sized["devices"]


def test_alternatives_seek_the_degrees_and_take_only_the_choice(client: httpx.Client) -> None:
    body = {
        "request": asked({"tensor": 8}),
        "traffic": {"requests_per_second": 1},
        "task": "chat",
    }
    response = client.post("/alternatives", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/request/layout"


def test_a_sweep_over_layouts_answers_as_single_estimates_do(client: httpx.Client) -> None:
    columns = [
        "/layout/data",
        FIELD,
        "/serving/output_tokens_per_second/value",
        "/memory/peak_bytes/value",
    ]
    axes = {"/layout/tensor": [4, 8], FIELD: [None, False, True]}
    base = asked()
    del base["hardware"]["count"]
    found = sweep(client, base=base, axes=axes, columns=columns)["columns"]
    assert found["/layout/data"] == [4, 1, 4, 8, 1, 8]
    speeds = found["/serving/output_tokens_per_second/value"]
    assert speeds[0] == speeds[2] != speeds[1]
    single = ask(client, base | {"layout": {"tensor": 8, "attention_data_parallel": True}})
    assert speeds[5] == single["serving"]["output_tokens_per_second"]["value"]
