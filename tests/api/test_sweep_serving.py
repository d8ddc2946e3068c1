"""POST /sweep of inference: the same numbers as single estimates, in columns."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.api.sweep_columns import SERVED
from tests.api.test_estimate import ask
from tests.api.test_sweep import placed, resolved, sweep

BASE: dict[str, Any] = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "inference", "prompt_tokens": 1000, "output_tokens": 200},
    "hardware": {"accelerator": "h100-sxm"},
    "site": {"region": "gcp/us-central1"},
    "pricing": {"usd_per_device_hour": 2.0},
}
AXES: dict[str, list[Any]] = {
    "/hardware/accelerator": ["h100-sxm", "l40s", "rtx-4090"],
    "/workload/weights": ["bf16", "fp8"],
    "/workload/concurrency": [1, 64],
    "/model/name": ["llama-3.1-8b", "llama-3.1-70b"],
}


def test_every_row_is_the_estimate_of_that_request(client: httpx.Client) -> None:
    found = sweep(client, base=BASE, axes=AXES, columns=list(SERVED))
    assert (found["rows"], found["refused"]) == (24, 0)
    for row in range(0, 24, 5):
        body = BASE
        for pointer in AXES:
            body = placed(body, pointer, found["columns"][pointer][row])
        single = ask(client, body)
        for pointer in SERVED:
            if "/fleet/" not in pointer:
                assert found["columns"][pointer][row] == resolved(single, pointer), pointer
            else:
                assert found["columns"][pointer][row] is None


def test_a_load_sizes_a_fleet_in_each_row(client: httpx.Client) -> None:
    base = placed(BASE, "/workload/load", {"requests_per_second": 5})
    axes = {"/hardware/accelerator": ["h100-sxm", "a100-sxm4-80gb"]}
    columns = ["/serving/fleet/devices", "/serving/fleet/usd_per_million_output_tokens"]
    found = sweep(client, base=base, axes=axes, columns=columns)["columns"]
    assert all(count >= 1 for count in found["/serving/fleet/devices"])


def test_columns_that_nobody_chose_are_those_of_serving(client: httpx.Client) -> None:
    found = sweep(client, base=BASE, axes={"/workload/concurrency": [1, 2, 4]})
    speeds = found["columns"]["/serving/output_tokens_per_second/value"]
    assert speeds == sorted(speeds)
    assert set(found["columns"]["/verdict/admission"]) == {"fits"}


def test_a_replica_that_cannot_be_divided_so_is_refused_and_counted(client: httpx.Client) -> None:
    found = sweep(client, base=BASE, axes={"/layout/tensor": [2, 3]})
    assert found["refused"] == 1
    assert found["columns"]["/layout/tensor"] == [2, 3]
    assert found["columns"]["/memory/peak_bytes/value"][1] is None


@pytest.mark.parametrize(
    ("base", "axes", "pointer"),
    [
        (BASE, {"/workload/concurrency": list(range(1, 1_002))}, "/axes"),
        (BASE, {"/model/name": ["bert-base"]}, "/base"),
        (BASE, {"/workload/weights": ["zzz"]}, "/axes/~1workload~1weights/0"),
    ],
)
def test_what_cannot_be_swept_says_why(
    client: httpx.Client, base: dict[str, Any], axes: dict[str, list[Any]], pointer: str
) -> None:
    answer = client.post("/sweep", json={"base": base, "axes": axes})
    assert answer.status_code in (413, 422)
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_column_of_training_is_none_of_serving(client: httpx.Client) -> None:
    body = {"base": BASE, "axes": {"/workload/concurrency": [1]}, "columns": ["/time/step_seconds"]}
    answer = client.post("/sweep", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/columns/0"


def test_fleets_of_a_sweep_are_counted_before_they_are_sought(client: httpx.Client) -> None:
    axes = {"/workload/prompt_tokens": list(range(100, 400))}
    assert sweep(client, base=BASE, axes=axes)["rows"] == 300
    loaded = placed(BASE, "/workload/load", {"requests_per_second": 5})
    found = client.post("/sweep", json={"base": loaded, "axes": axes})
    assert found.json()["type"] == "/problems/too-much-work"
