"""The record: the back-test, and the runs that callers posted, judged by their cluster's others."""

from __future__ import annotations

import csv
import io
from statistics import median
from typing import Any

import httpx
import pytest

from service.api.judging_runs import judged
from service.catalog.snapshot import Snapshot
from service.settings import Settings
from tests.api.test_runs import answer, jobs, part, recorded, run
from tests.conftest import serving

VTRAIN = "vtrain/multi-node"


def read(client: httpx.Client, query: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/accuracy?{query}").raise_for_status().json()
    return found


def test_the_back_test_is_grouped_and_filtered(client: httpx.Client) -> None:
    every = read(client, "by=quantity&limit=0")
    assert every["items"] == []
    steps = read(client, "quantity=step_seconds&accelerator=a100-sxm4-80gb&limit=5000")
    assert {row["quantity"] for row in steps["items"]} == {"step_seconds"}
    assert sum(group["rows"] for group in steps["groups"]) == len(steps["items"])
    total = next(group for group in every["groups"] if group["name"] == "step_seconds")
    assert 0 < len(steps["items"]) < total["rows"]


def test_csv_and_json_tell_the_same_rows(client: httpx.Client) -> None:
    path = f"/accuracy?cluster={VTRAIN}&limit=5000"
    rows = client.get(path).json()["items"]
    text = client.get(path, headers={"accept": "text/csv"}).text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["case"] for row in table] == [row["case"] for row in rows]
    assert [float(row["value"]) for row in table] == [row["value"] for row in rows]


def test_clusters_are_told_one_by_one_and_published_runs_are_no_proof(client: httpx.Client) -> None:
    groups = {group["name"]: group for group in read(client, "by=cluster&limit=0")["groups"]}
    assert groups[VTRAIN]["rows"] == 46
    assert groups[VTRAIN]["coverage"] is None
    assert "published/llama-3.1-405b" in groups


def test_a_run_is_judged_by_the_others_and_never_by_itself(seeded: Snapshot) -> None:
    general = answer(seeded)
    step = part(general, "time.step_seconds")
    alone = judged(recorded(seeded, [run("only", "one", step_seconds=3 * step.value)]), "one")
    (row,) = alone
    assert (row.value, row.low, row.high) == pytest.approx((step.value, step.low, step.high))
    runs = recorded(seeded, jobs(general, 20))
    rows = [row for row in judged(runs, "blue") if row.quantity == "step_seconds"]
    assert len(rows) == 20
    assert all(row.set_aside for row in rows)
    assert median(abs(row.error) for row in rows) < 0.04
    assert sum(row.inside for row in rows) >= 16
    odd = recorded(seeded, [*jobs(general, 20), run("odd", "blue", step_seconds=30 * step.value)])
    worst = next(row for row in judged(odd, "blue") if row.case == "odd")
    assert worst.value < 1.4 * step.value


def test_a_posted_run_joins_the_record(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    with serving(Settings(database_url=url)) as where, httpx.Client(base_url=where) as client:
        assert client.post("/runs", json=run("mine", "lab")).status_code == 201
        (row,) = read(client, "cluster=lab")["items"]
        assert (row["case"], row["family"], row["observed"]) == ("mine", "llama", 9.0)
        groups = read(client, "limit=0")["groups"]
        assert "step_seconds: runs of lab" in {group["name"] for group in groups}
        assert read(client, "cluster=nobody")["items"] == []
