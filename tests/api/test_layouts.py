"""POST /layouts: the set that nothing else beats, and the caps it keeps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.api.test_estimate import ask

JOB = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "pretraining", "global_batch_size": 256, "sequence_length": 4096},
    "pricing": {"usd_per_device_hour": 2.0},
}


def layouts(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/layouts", json={"request": JOB, "devices": [8, 16, 32]} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def measures(option: dict[str, Any]) -> tuple[float, ...]:
    return (
        option["wall_clock_seconds"]["value"],
        option["usd"]["value"],
        option["total_kgco2e"]["value"],
        option["layout"]["devices"],
    )


def test_no_layout_of_the_answer_beats_another(client: httpx.Client) -> None:
    found = layouts(client)
    options = [measures(option) for option in found["layouts"]]
    assert found["considered"] >= found["fitting"] >= found["allowed"] >= len(options) > 1
    for one in options:
        assert not any(
            other != one and all(a <= b for a, b in zip(other, one, strict=True))
            for other in options
        )
    assert all(a[0] <= b[0] for a, b in pairwise(options))


def test_an_option_is_what_the_estimate_of_that_layout_says(client: httpx.Client) -> None:
    option = layouts(client)["layouts"][0]
    chosen = option["layout"]
    names = ("tensor", "pipeline", "context", "expert", "zero_stage", "sequence_parallel")
    workload = JOB["workload"] | {
        "recomputation": option["recomputation"],
        "micro_batch_size": chosen["micro_batch_size"],
    }
    body = JOB | {
        "workload": workload,
        "layout": {name: chosen[name] for name in names},
        "hardware": {"count": chosen["devices"]},
    }
    single = ask(client, body)
    assert single["time"]["wall_clock_seconds"] == option["wall_clock_seconds"]
    assert single["memory"]["peak_bytes"] == option["peak_bytes"]


def test_caps_are_kept(client: httpx.Client) -> None:
    free = layouts(client)["layouts"]
    hours = free[0]["wall_clock_seconds"]["value"] / 3600 * 1.2
    kept = layouts(client, caps={"deadline_hours": hours, "devices": 32})["layouts"]
    assert kept
    assert all(option["wall_clock_seconds"]["value"] <= hours * 3600 for option in kept)
    assert layouts(client, caps={"usd": 0.01})["layouts"] == []


def test_the_neighbours_of_the_fastest_say_why_they_lose(client: httpx.Client) -> None:
    neighbours = layouts(client)["neighbours"]
    assert len(neighbours) > 5
    assert all(entry["change"] and entry["reason"] for entry in neighbours)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"request": JOB | {"layout": {"tensor": 2}}}, "/request/layout"),
        ({"request": JOB | {"model": {"kind": "size", "parameters": 7}}}, "/request/model"),
        ({"request": JOB | {"workload": {"kind": "inference"}}}, "/request/workload"),
        ({"devices": [8], "caps": {"devices": 4}}, "/devices"),
        ({"devices": []}, "/devices"),
        ({"caps": {"deadline_hours": -1}}, "/caps/deadline_hours"),
    ],
    ids=str,
)
def test_wrong_questions_get_problems_that_point_at_the_field(
    client: httpx.Client, change: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/layouts", json={"request": JOB} | change)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
