"""Where the time of a training step goes: shares that sum to 1, each with what causes it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.test_estimate import ask

ALONE = {"compute", "optimizer"}


def shares(
    client: httpx.Client, count: int, model: str = "llama-3.2-1b", batch: int = 64, **layout: int
) -> Any:
    job = {"tokens": 1e9, "sequence_length": 4_096, "global_batch_size": batch}
    body = {
        "model": {"kind": "catalog", "name": model},
        "workload": {"kind": "pretraining"} | job,
        "hardware": {"accelerator": "h100-sxm", "count": count},
        "layout": {"tensor": 1} | layout,
    }
    found = ask(client, body)["time"]["step_shares"]
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(share >= 0.0 for share in found.values())
    return found


def parts(found: dict[str, float]) -> set[str]:
    return {name for name, share in found.items() if share > 0.0}


def test_a_device_alone_computes_and_updates(client: httpx.Client) -> None:
    found = shares(client, 1)
    assert parts(found) == ALONE
    assert found["compute"] > found["optimizer"]


@pytest.mark.parametrize(
    ("degree", "taken"),
    [
        ({"tensor": 8}, {"tensor"}),
        ({"context": 8}, {"context", "data"}),
        ({"pipeline": 8}, {"pipeline"}),
        ({}, {"data"}),
    ],
)
def test_each_way_of_dividing_costs_what_it_sends(
    client: httpx.Client, degree: dict[str, int], taken: set[str]
) -> None:
    assert parts(shares(client, 8, **degree)) == ALONE | taken


def test_experts_on_other_devices_are_sent_their_tokens(client: httpx.Client) -> None:
    assert shares(client, 64, "mixtral-8x7b", expert=8)["expert"] > 0.0
    assert shares(client, 64, "mixtral-8x7b", expert=1)["expert"] == 0.0


def test_more_micro_batches_shrink_the_bubble(client: httpx.Client) -> None:
    few = shares(client, 8, pipeline=8, batch=8)
    many = shares(client, 8, pipeline=8, batch=256)
    assert few["pipeline"] > 2.0 * many["pipeline"]
