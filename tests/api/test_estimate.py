"""POST /estimate on the live server: what is answered, and what is refused and how."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from service.api.levers import merged

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
EIGHT_HEADS = LLAMA | {"hidden_size": 1024, "num_attention_heads": 8, "num_hidden_layers": 4}
FULL = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {
        "kind": "pretraining",
        "tokens": 1.5e13,
        "sequence_length": 8192,
        "global_batch_size": 1024,
        "micro_batch_size": 1,
        "precision": "bf16-mixed",
        "optimizer": "adamw",
        "recomputation": "selective",
        "attention": "flash",
    },
    "hardware": {"accelerator": "h100-sxm", "count": 512},
    "layout": {
        "tensor": 4,
        "pipeline": 1,
        "context": 1,
        "expert": 1,
        "zero_stage": 1,
        "sequence_parallel": True,
    },
    "site": {"region": "gcp/us-central1"},
    "pricing": {"usd_per_device_hour": 2.5},
}
SECTIONS = ("parameters", "compute", "memory", "time", "cost", "carbon", "compute_optimal")


def ask(client: httpx.Client, body: Any) -> dict[str, Any]:
    answer = client.post("/estimate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, body: Any, kind: str, pointer: str) -> dict[str, Any]:
    answer = client.post("/estimate", json=body)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (problem["type"], answer.status_code) == (f"/problems/{kind}", 422)
    assert pointer in [error["pointer"] for error in problem["errors"]]
    return problem


def predictions(value: Any) -> list[dict[str, float]]:
    """Every predicted number of an answer."""
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            return [value]
        return [found for part in value.values() for found in predictions(part)]
    if isinstance(value, list):
        return [found for part in value for found in predictions(part)]
    return []


def test_a_config_alone_gets_a_full_answer_with_its_defaults_named(client: httpx.Client) -> None:
    answer = ask(client, {"model": {"kind": "huggingface", "config": LLAMA}})
    assert answer["parameters"]["total"] == 8_030_261_248
    assert all(answer[section] is not None for section in (*SECTIONS, "verdict", "layout"))
    assert answer["verdict"]["admission"] == "fits"
    named = {entry["field"]: entry for entry in answer["assumptions"]}
    assert named["/workload/tokens"]["value"] == pytest.approx(20 * 8_030_261_248)
    for field in ("/hardware/accelerator", "/hardware/count", "/workload/optimizer", "/layout"):
        assert named[field]["origin"] in ("default", "search")
        assert named[field]["source"]


def test_the_request_of_the_contract_is_answered_in_full(client: httpx.Client) -> None:
    answer = ask(client, FULL)
    parts = answer["memory"]["per_device"]
    held = [v for k, v in parts.items() if k != "saved_activations_bytes" and v is not None]
    assert sum(held) == pytest.approx(answer["memory"]["peak_bytes"]["value"])
    cost, time = answer["cost"], answer["time"]
    assert cost["usd"]["value"] == pytest.approx(2.5 * time["device_hours"]["value"])
    wall = time["wall_clock_seconds"]["value"]
    assert time["device_hours"]["value"] == pytest.approx(wall * 512 / 3600)
    assert answer["layout"]["data"] == 128
    assert answer["compute_optimal"]["verdict"] == "overtrained"
    assert answer["carbon"]["market_kgco2e"] is not None


def test_the_right_size_is_judged_by_every_law_with_what_it_wastes_and_when_it_pays_back(
    client: httpx.Client,
) -> None:
    found = ask(client, FULL)["compute_optimal"]
    assert found["factor"]["value"] == pytest.approx(
        found["tokens_per_parameter"] / found["optimal_tokens_per_parameter"]
    )
    assert found["factor"]["low"] < found["factor"]["value"] <= found["factor"]["high"]
    assert found["verdicts"][found["law"]] == found["verdict"]
    assert len(found["verdicts"]) == 8
    spent = 6.0 * found["parameters"]["value"] * found["tokens"]["value"]
    assert found["wasted_flops"] == pytest.approx(found["wasted_fraction"] * spent)
    assert found["payback_tokens"] > 1e12
    large = {"workload": {"kind": "pretraining", "tokens": 3e11}}
    gpt = ask(client, {"model": {"kind": "size", "parameters": 175_000_000_000}} | large)
    assert gpt["compute_optimal"]["verdict"] == "undertrained"
    assert gpt["compute_optimal"]["payback_tokens"] is None


def test_every_prediction_lies_inside_its_interval(client: httpx.Client) -> None:
    found = predictions(ask(client, FULL))
    assert len(found) > 10
    assert all(0 <= p["low"] <= p["value"] <= p["high"] for p in found)


def test_the_same_request_gets_the_same_bytes(client: httpx.Client) -> None:
    first, second = (client.post("/estimate", json=FULL).content for _ in range(2))
    assert first == second
    assert client.post("/v1/estimate", json=FULL).content == first


def test_a_null_section_is_explained_by_a_coded_warning(client: httpx.Client) -> None:
    answer = ask(client, {"model": {"kind": "size", "parameters": 7_000_000_000}})
    assert answer["memory"] is None
    assert "size-only" in [warning["code"] for warning in answer["warnings"]]
    assert answer["time"]["device_hours"]["value"] > 0


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("resnet-50", 25_557_032),
        ("bert-base", 109_514_298),
        ("mixtral-8x7b", 46_702_792_704),
        ("deepseek-v3", 671_026_404_352),
    ],
)
def test_catalogued_models_count_exactly(client: httpx.Client, name: str, total: int) -> None:
    body = {"model": {"kind": "catalog", "name": name}}
    answer = client.post("/parameters", json=body).json()
    assert answer["parameters"]["total"] == total
    assert set(answer) == {"parameters", "assumptions", "warnings", "provenance"}


def test_hand_written_layers_count_exactly(client: httpx.Client) -> None:
    layer = {"type": "linear", "inputs": 1000, "outputs": 1000, "bias": True, "repeat": 3}
    answer = ask(client, {"model": {"kind": "layers", "layers": [layer]}})
    assert answer["parameters"]["total"] == 3_003_000


def test_a_safetensors_header_counts_exactly(client: httpx.Client) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "fc.weight": {"dtype": "BF16", "shape": [10, 20], "data_offsets": [0, 400]},
    }
    answer = ask(client, {"model": {"kind": "safetensors", "header": header}})
    assert answer["parameters"]["total"] == 200


def test_adapters_train_few_parameters(client: httpx.Client) -> None:
    workload = {"kind": "finetuning", "method": "lora", "rank": 8, "targets": ["q_proj"]}
    body = {"model": {"kind": "catalog", "name": "llama-3.1-8b"}, "workload": workload}
    assert ask(client, body)["parameters"]["trainable"] == 32 * 8 * (4096 + 4096)


@pytest.mark.parametrize("path", ["/memory", "/training-time", "/carbon"])
def test_a_narrow_endpoint_answers_that_section_of_the_estimate(
    client: httpx.Client, path: str
) -> None:
    whole = ask(client, FULL)
    part = client.post(path, json=FULL).json()
    assert len(part) < len(whole)
    assert all(whole[name] == value for name, value in part.items())


def test_a_job_that_does_not_fit_is_told_what_would(client: httpx.Client) -> None:
    body = {
        "model": {"kind": "catalog", "name": "llama-3.1-70b"},
        "workload": {"kind": "pretraining", "sequence_length": 4096, "global_batch_size": 1024},
        "hardware": {"accelerator": "h100-sxm", "count": 64},
        "layout": {"tensor": 8, "zero_stage": 0},
    }
    verdict = ask(client, body)["verdict"]
    assert verdict["admission"] == "does_not_fit"
    assert verdict["margin_bytes"] < 0
    assert verdict["smallest_changes"]
    for change in verdict["smallest_changes"]:
        after = ask(client, merged(body, change["patch"]))
        assert after["verdict"]["admission"] == "fits"
        gibibytes = after["memory"]["peak_bytes"]["value"] / 2**30
        assert f"-> {gibibytes:.1f} GiB" in change["effect"]


@pytest.mark.parametrize(
    ("change", "kind", "pointer"),
    [
        ({"model": None}, "invalid-request", "/model"),
        ({"modle": {}}, "invalid-request", "/modle"),
        ({"workload": {"tokenz": 1}}, "invalid-request", "/workload/tokenz"),
        ({"hardware": {"accelerator": "h100-sxn"}}, "unknown-accelerator", "/hardware/accelerator"),
        ({"model": {"name": "llama-9"}}, "unknown-model", "/model/name"),
        ({"site": {"region": "gcp/mars"}}, "unknown-region", "/site/region"),
        ({"workload": {"tokens": -1}}, "invalid-request", "/workload/tokens"),
        ({"workload": {"tokens": 1e300}}, "invalid-request", "/workload/tokens"),
        ({"workload": {"tokens": "many"}}, "invalid-request", "/workload/tokens"),
        ({"workload": {"tokens": True}}, "invalid-request", "/workload/tokens"),
        (
            {"workload": {"recomputation": "none", "recomputed_share": 0.5}},
            "invalid-request",
            "/workload/recomputed_share",
        ),
        ({"workload": {"kind": "pretrain"}}, "invalid-request", "/workload/kind"),
        ({"workload": {"precision": "bf17"}}, "invalid-request", "/workload/precision"),
        ({"hardware": {"count": 0}}, "invalid-request", "/hardware/count"),
        ({"hardware": {"count": 2.5}}, "invalid-request", "/hardware/count"),
        ({"layout": {"tensor": 3}}, "impossible-layout", "/layout/tensor"),
        ({"layout": {"pipeline": 64}}, "impossible-layout", "/layout/pipeline"),
        ({"layout": {"expert": 2}}, "impossible-layout", "/layout/expert"),
        ({"layout": {"zero_stage": 4}}, "invalid-request", "/layout/zero_stage"),
        ({"hardware": {"count": 6}}, "impossible-layout", "/layout"),
        (
            {"workload": {"global_batch_size": 1000}},
            "impossible-layout",
            "/workload/global_batch_size",
        ),
        ({"pricing": {"provider": "aws"}}, "invalid-request", "/pricing"),
        ({"site": {"country": "FR"}}, "invalid-request", "/site"),
        ({"as_of": "yesterday"}, "invalid-request", "/as_of"),
        ({"as_of": "1999-01-01"}, "outside-the-catalog", "/as_of"),
        ({"as_of": "2999-01-01"}, "outside-the-catalog", "/as_of"),
    ],
    ids=str,
)
def test_wrong_input_gets_a_problem_that_points_at_the_field(
    client: httpx.Client, change: dict[str, Any], kind: str, pointer: str
) -> None:
    refused(client, merged(FULL, change), kind, pointer)


def test_tensor_3_on_8_heads_is_told_which_ways_are_possible(client: httpx.Client) -> None:
    model = {"kind": "huggingface", "config": EIGHT_HEADS}
    body = {"model": model, "layout": {"tensor": 3}}
    problem = refused(client, body, "impossible-layout", "/layout/tensor")
    assert "use one of 1, 2, 4, 8" in problem["detail"]


@pytest.mark.parametrize(
    ("config", "kind", "field"),
    [
        ({"hidden_size": 8}, "invalid-model", "model_type"),
        ({"model_type": "nonesuch"}, "unknown-architecture", "model_type"),
        (LLAMA | {"num_hidden_layers": -1}, "invalid-model", "num_hidden_layers"),
        (LLAMA | {"num_hidden_layers": 10**400}, "invalid-model", "num_hidden_layers"),
        (LLAMA | {"vocab_size": "many"}, "invalid-model", "vocab_size"),
        (LLAMA | {"hidden_size": None, "num_attention_heads": 0}, "invalid-model", None),
        ({}, "invalid-model", "model_type"),
    ],
    ids=str,
)
def test_a_config_that_cannot_be_read_is_refused_with_its_field(
    client: httpx.Client, config: dict[str, Any], kind: str, field: str | None
) -> None:
    body = {"model": {"kind": "huggingface", "config": config}}
    pointer = f"/model/config/{field or 'num_attention_heads'}"
    refused(client, body, kind, pointer)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(client: httpx.Client, text: str) -> None:
    body = json.dumps(FULL).replace("15000000000000.0", text)
    assert text in body
    headers = {"content-type": "application/json"}
    answer = client.post("/estimate", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/workload/tokens"


def test_two_megabytes_of_nested_brackets_are_refused_at_once(client: httpx.Client) -> None:
    body = b'{"model": {"kind": "layers", "layers": ' + b"[" * 2_000_000
    headers = {"content-type": "application/json"}
    answer = client.post("/estimate", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/nested-too-deeply"


def test_strings_that_no_text_holds_are_refused_and_do_no_harm(client: httpx.Client) -> None:
    body = b'{"model": {"kind": "catalog", "name": "\\ud800"}}'
    headers = {"content-type": "application/json"}
    answer = client.post("/estimate", content=body, headers=headers)
    assert answer.status_code == 422


def test_odd_text_in_a_field_that_nobody_reads_does_no_harm(client: httpx.Client) -> None:
    config = json.dumps(LLAMA | {"_name_or_path": "\ud800"})
    body = f'{{"model": {{"kind": "huggingface", "config": {config}}}}}'
    headers = {"content-type": "application/json"}
    answer = client.post("/estimate", content=body, headers=headers)
    assert answer.json()["parameters"]["total"] == 8_030_261_248


def test_a_batch_answers_each_request_with_its_own_answer_or_problem(client: httpx.Client) -> None:
    requests = [FULL, {"model": {"kind": "catalog", "name": "nobody"}}, {}, 7, FULL]
    items = client.post("/estimate/batch", json={"requests": requests}).json()["items"]
    assert [item["estimate"] is None for item in items] == [False, True, True, True, False]
    assert items[0]["estimate"] == ask(client, FULL) == items[4]["estimate"]
    assert items[1]["problem"]["errors"][0]["pointer"] == "/model/name"
    assert items[2]["problem"]["errors"][0]["pointer"] == "/model"


def test_estimates_are_counted_by_kind_and_verdict(client: httpx.Client) -> None:
    ask(client, FULL)
    text = client.get("/metrics").text
    assert 'model_sizing_estimates_total{admission="fits",model="catalog"}' in text


def test_catalogued_models_are_all_estimated(client: httpx.Client) -> None:
    names = [item["name"] for item in client.get("/models?limit=500").json()["items"]]
    requests = [{"model": {"kind": "catalog", "name": name}} for name in names]
    items = client.post("/estimate/batch", json={"requests": requests}, timeout=300).json()["items"]
    failed = {n: i["problem"]["detail"] for n, i in zip(names, items, strict=True) if i["problem"]}
    assert failed == {}


@pytest.mark.parametrize("objective", ["dpo", "ppo", "grpo"])
def test_the_models_of_an_objective_are_counted_and_given_room(
    client: httpx.Client, objective: str
) -> None:
    def tuned(name: str) -> dict[str, Any]:
        workload = {"kind": "finetuning", "method": "full", "objective": name}
        return ask(client, {"model": FULL["model"], "workload": workload})

    plain, further = tuned("sft"), tuned(objective)
    assert further["verdict"]["admission"] == "fits"
    assert further["layout"]["devices"] >= plain["layout"]["devices"]
    same = {"hardware": {"count": 8}, "layout": {"zero_stage": 3}}
    peaks = []
    for name in ("sft", objective):
        workload = {"kind": "finetuning", "method": "full", "objective": name}
        body = {"model": FULL["model"], "workload": workload} | same
        peaks.append(ask(client, body)["memory"]["peak_bytes"]["value"])
    assert peaks[1] > peaks[0]
    assert "objective-time" in [warning["code"] for warning in further["warnings"]]


def test_a_quantised_config_shows_what_is_stored_and_is_served_as_it_is(
    client: httpx.Client,
) -> None:
    section = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    config = LLAMA | {"quantization_config": section}
    model = {"kind": "huggingface", "config": config}
    answer = client.post("/estimate", json={"model": model}).json()
    plain = client.post("/parameters", json={"model": model | {"config": LLAMA}}).json()
    assert answer["parameters"]["total"] == plain["parameters"]["total"]
    formats = answer["parameters"]["stored_bytes_by_format"]
    assert set(formats) == {"gptq-int4-g128", "bf16"}
    assert answer["parameters"]["stored_bytes"] == sum(formats.values())
    assert plain["parameters"]["stored_bytes"] == 2 * plain["parameters"]["total"]
    serving = {"model": model, "workload": {"kind": "inference"}}
    served = client.post("/estimate", json=serving).json()
    assert served["serving"]["weights_bytes"] == answer["parameters"]["stored_bytes"]


def test_stored_bytes_that_are_not_understood_are_left_out_and_said(client: httpx.Client) -> None:
    config = LLAMA | {"quantization_config": {"quant_method": "hqq"}}
    model = {"kind": "huggingface", "config": config}
    answer = client.post("/estimate", json={"model": model}).json()
    assert answer["parameters"]["stored_bytes"] is None
    assert "stored-format-unknown" in {warning["code"] for warning in answer["warnings"]}


def test_a_header_tells_its_bytes_by_format(client: httpx.Client) -> None:
    header = {
        "a.weight": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]},
        "b.weight": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]},
    }
    body = {"model": {"kind": "safetensors", "header": header}}
    answer = client.post("/parameters", json=body).json()
    assert answer["parameters"]["stored_bytes_by_format"] == {"F16": 32, "F32": 8}
