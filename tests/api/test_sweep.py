"""POST /sweep: the same numbers as single estimates, in columns."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.sweep_columns import GETTERS
from tests.api.test_estimate import FULL, LLAMA, ask

BASE = FULL | {"layout": {"tensor": 2, "zero_stage": 1}}
AXES: dict[str, list[Any]] = {
    "/hardware/count": [64, 128],
    "/hardware/accelerator": ["h100-sxm", "a100-sxm4-80gb"],
    "/workload/tokens": [1e12, 2e12],
    "/site/region": ["gcp/us-central1", "gcp/europe-west4"],
}

FIELDS: dict[str, list[Any]] = AXES | {
    "/model/name": ["llama-3.1-8b", "mixtral-8x7b", "bloom-7b1"],
    "/pricing/usd_per_device_hour": [0.5, 3.0],
    "/workload/sequence_length": [2048, 8192],
    "/workload/global_batch_size": [1024, 1000],
    "/workload/micro_batch_size": [1, 2],
    "/workload/precision": ["bf16-mixed", "fp8-mixed", "fp32"],
    "/workload/optimizer": ["adamw", "adafactor", "muon"],
    "/workload/recomputation": ["none", "selective", "half", "full"],
    "/workload/attention": ["eager", "flash"],
    "/layout/tensor": [1, 3, 8],
    "/layout/pipeline": [1, 2, 4],
    "/layout/context": [1, 2],
    "/layout/expert": [1, 8],
    "/layout/zero_stage": [0, 1, 3],
    "/layout/sequence_parallel": [True, False],
}
"""Any field may be an axis; some of these values make no sense with others."""


def sweep(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/sweep", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def resolved(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        document = document[part]
    return document


def placed(body: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    section, field = pointer.split("/")[1:]
    return body | {section: body[section] | {field: value}}


def test_places_are_compared_at_the_cost_of_one_search(client: httpx.Client) -> None:
    places: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        query = {"limit": 500} | ({"cursor": page["next"]} if page["next"] else {})
        page = client.get("/regions", params=query).json()
        places += [region["name"] for region in page["items"] if "/" in region["name"]]
    assert len(places) > 400
    base = {name: value for name, value in BASE.items() if name != "layout"}
    found = sweep(client, base=base, axes={"/site/region": places}, columns=["/cost/usd/value"])
    assert found["rows"] == len(places)


def test_every_row_is_the_estimate_of_that_request(client: httpx.Client) -> None:
    found = sweep(client, base=BASE, axes=AXES, columns=list(GETTERS))
    assert (found["rows"], found["refused"]) == (16, 0)
    for row in range(0, 16, 3):
        body = BASE
        for pointer in AXES:
            body = placed(body, pointer, found["columns"][pointer][row])
        single = ask(client, body)
        for pointer in GETTERS:
            expected = resolved(single, pointer)
            exact = isinstance(expected, str)
            wanted = expected if exact else pytest.approx(expected, rel=1e-12)
            assert found["columns"][pointer][row] == wanted, pointer


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pointers=st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4, unique=True),
    rows=st.lists(st.integers(0, 80), min_size=3, max_size=3),
)
def test_a_row_of_any_axes_is_the_estimate_or_refused_like_it(
    client: httpx.Client, pointers: list[str], rows: list[int]
) -> None:
    axes = {pointer: FIELDS[pointer] for pointer in pointers}
    found = sweep(client, base=BASE, axes=axes, columns=list(GETTERS))
    blank = [value is None for value in found["columns"]["/verdict/admission"]]
    assert found["refused"] == sum(blank)
    for row in {row % found["rows"] for row in rows}:
        body = BASE
        for pointer in pointers:
            body = placed(body, pointer, found["columns"][pointer][row])
        answer = client.post("/estimate", json=body)
        assert (answer.status_code == 422) == blank[row], answer.text
        for pointer in GETTERS:
            value = found["columns"][pointer][row]
            expected = None if blank[row] else resolved(answer.json(), pointer)
            exact = expected is None or isinstance(expected, str)
            assert value == (expected if exact else pytest.approx(expected, rel=1e-12)), pointer


def test_the_last_axis_varies_fastest(client: httpx.Client) -> None:
    axes = {"/hardware/count": [8, 16], "/hardware/accelerator": ["h100-sxm", "a100-sxm4-80gb"]}
    columns = sweep(client, base=BASE, axes=axes)["columns"]
    assert columns["/hardware/count"] == [8, 8, 16, 16]
    assert columns["/hardware/accelerator"] == ["h100-sxm", "a100-sxm4-80gb"] * 2


def test_combinations_that_make_no_sense_are_counted_and_null(client: httpx.Client) -> None:
    axes = {"/layout/tensor": [2, 3, 4]}
    found = sweep(client, base=BASE, axes=axes, columns=["/cost/usd/value", "/verdict/admission"])
    assert found["refused"] == 1
    assert [value is None for value in found["columns"]["/cost/usd/value"]] == [False, True, False]
    assert found["columns"]["/verdict/admission"][1] is None


def test_the_same_table_comes_as_csv(client: httpx.Client) -> None:
    body = {"base": BASE, "axes": {"/hardware/count": [64, 128]}}
    answer = client.post("/sweep", json=body, headers={"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    columns = client.post("/sweep", json=body).json()["columns"]
    assert [float(row["/cost/usd/value"]) for row in rows] == columns["/cost/usd/value"]


def test_a_hundred_thousand_rows_are_answered(client: httpx.Client) -> None:
    axes = {
        "/hardware/count": [64, 128, 256, 512, 1024],
        "/workload/tokens": [1e12 + 1e9 * i for i in range(2_000)],
        "/pricing/usd_per_device_hour": [float(i) for i in range(1, 11)],
    }
    found = sweep(client, base=BASE, axes=axes, columns=["/cost/usd/value"])
    assert (found["rows"], found["refused"]) == (100_000, 0)
    assert len(found["columns"]["/cost/usd/value"]) == 100_000


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"axes": {}}, "/axes"),
        ({"axes": {"/workload/tokens": []}}, "/axes/~1workload~1tokens"),
        ({"axes": {"/workload/tokens": [1e12, -1]}}, "/axes/~1workload~1tokens/1"),
        ({"axes": {"/workload/tokenz": [1]}}, "/axes/~1workload~1tokenz/0"),
        (
            {"axes": {"/hardware/accelerator": ["h100-sxm", "x9"]}},
            "/axes/~1hardware~1accelerator/1",
        ),
        ({"axes": {"/model": [{"kind": "catalog"}]}}, "/axes/~1model/0/name"),
        ({"axes": {"hardware/count": [8]}}, "/axes/hardware~1count"),
        ({"base": BASE | {"model": {"kind": "catalog", "name": "x9"}}}, "/base/model/name"),
        ({"columns": ["/cost/eur"]}, "/columns/0"),
        ({"columns": ["/memory/peak_bytes"]}, "/columns/0"),
        ({"axes": {"/workload/tokens": [1e12] * 2_000, "/site/pue": [1.1] * 3_000}}, "/axes"),
        ({"axes": {"/workload/sequence_length": list(range(1, 6_000))}}, "/axes"),
        ({"base": {"model": {"kind": "size", "parameters": 1000}}}, "/base"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_sweeps_get_problems_before_any_work(
    client: httpx.Client, change: dict[str, Any], pointer: str
) -> None:
    body = {"base": BASE, "axes": {"/hardware/count": [64]}} | change
    answer = client.post("/sweep", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_share_of_layers_that_is_recomputed_is_an_axis(client: httpx.Client) -> None:
    pointer, base = "/workload/recomputed_share", placed(BASE, "/workload/recomputation", "full")
    found = sweep(client, base=base, axes={pointer: [0.25, 0.5, 1.0]}, columns=list(GETTERS))
    steps = found["columns"]["/time/step_seconds/value"]
    assert steps == sorted(set(steps))
    for row, share in enumerate(found["columns"][pointer]):
        single = ask(client, placed(base, pointer, share))
        assert resolved(single, "/time/step_seconds/value") == pytest.approx(steps[row], rel=1e-12)


@pytest.mark.parametrize(
    ("pointer", "values"),
    [
        ("/workload/objective", ["sft", "dpo", "grpo"]),
        ("/workload/offload", ["none", "optimizer", "parameters"]),
    ],
)
def test_rows_differ_in_the_items_of_a_step(
    client: httpx.Client, pointer: str, values: list[str]
) -> None:
    workload = {"kind": "finetuning", "method": "full", "tokens": 1e8, "micro_batch_size": 1}
    base = FULL | {
        "workload": workload | {"sequence_length": 1024, "global_batch_size": 64},
        "hardware": {"accelerator": "h100-sxm", "count": 8},
        "layout": {"zero_stage": 3},
    }
    column = "/time/wall_clock_seconds/value"
    axes = {pointer: values, "/hardware/count": [8, 16]}
    found = sweep(client, base=base, axes=axes, columns=[column])["columns"]
    for value, count, seconds in zip(
        found[pointer], found["/hardware/count"], found[column], strict=True
    ):
        single = placed(placed(base, pointer, value), "/hardware/count", count)
        assert seconds == pytest.approx(resolved(ask(client, single), column))
    assert len(set(found[column])) == len(found[column])


OPEN = {"model": {"kind": "catalog", "name": "llama-3.1-8b"}}
NAMES = ["h100-sxm", "a100-sxm4-80gb", "h200-sxm", "l40s", "mi300x", "a100-sxm4-40gb"]
NAMES += ["v100-sxm2-32gb", "b200"]


def test_a_grid_of_accelerators_and_counts_is_searched_for_its_layouts(
    client: httpx.Client,
) -> None:
    axes = {"/hardware/accelerator": NAMES, "/hardware/count": [2**n for n in range(3, 11)]}
    found = client.post("/sweep", json={"base": OPEN, "axes": axes})
    assert (found.status_code, found.json()["rows"]) == (200, 64)


def test_searches_of_a_sweep_are_counted_and_those_beyond_the_budget_refused(
    client: httpx.Client,
) -> None:
    lengths = {"/workload/sequence_length": list(range(128, 128 * 201, 128))}
    body = {"base": OPEN | {"hardware": {"count": 64}}, "axes": lengths}
    first, again = (client.post("/sweep", json=body).json() for _ in range(2))
    assert first["type"] == "/problems/too-much-work"
    assert 50 < int(first["detail"].split()[0]) < 200
    assert first["detail"] == again["detail"]


@pytest.mark.parametrize("kind", ["pretraining", "inference"])
def test_networks_of_a_sweep_that_all_differ_are_counted(client: httpx.Client, kind: str) -> None:
    networks = [
        {"kind": "layers", "layers": [*HEAVY, {"type": "linear", "inputs": 64, "outputs": width}]}
        for width in range(60)
    ]
    base = OPEN | {"workload": {"kind": kind}, "layout": {"tensor": 1}}
    found = client.post("/sweep", json={"base": base, "axes": {"/model": networks}})
    assert found.json()["type"] == "/problems/too-much-work"


HEAVY = [
    {"type": "embedding", "rows": 100, "width": 64, "input": True},
    {"type": "self_attention", "hidden": 64, "heads": 1},
    *({"type": "linear", "inputs": 64, "outputs": n} for n in range(1, 900)),
]


def test_a_config_with_text_that_is_no_unicode_is_swept(client: httpx.Client) -> None:
    odd = {"kind": "huggingface", "config": LLAMA | {"note": "\ud800"}}
    body = json.dumps({"base": {"model": odd}, "axes": {"/hardware/count": [8, 16]}})
    headers = {"content-type": "application/json"}
    assert client.post("/sweep", content=body, headers=headers).status_code == 200
