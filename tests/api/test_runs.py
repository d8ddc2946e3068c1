"""Runs: posted once each, and what they do to the estimates of their cluster."""

from __future__ import annotations

import copy
import datetime
import math
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import httpx
import pytest

from service.api.calibrating import evidence
from service.api.estimating import Context, estimate
from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse
from service.catalog.drafts import draft
from service.catalog.facts import Draft
from service.catalog.kinds import RunFacts
from service.catalog.snapshot import Row, Snapshot
from service.catalog.store import Store
from service.settings import Settings
from tests.api.secrets import READ, WRITE, bearer
from tests.conftest import serving

REQUEST: dict[str, Any] = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "pretraining", "tokens": 1e10, "sequence_length": 4096},
    "hardware": {"accelerator": "h100-sxm", "count": 64},
    "pricing": {"usd_per_device_hour": 2.0},
}
SOURCE = {"source": "a test", "licence": "none"}


def run(name: str, cluster: str = "blue", **observed: float) -> dict[str, Any]:
    figures = observed or {"step_seconds": 9.0}
    return {"id": name, "cluster": cluster, "request": REQUEST, "observed": figures}


def recorded(snapshot: Snapshot, runs: list[dict[str, Any]]) -> Snapshot:
    """The catalog with more runs in it, written on the day after its newest fact."""
    day = datetime.date.fromisoformat(snapshot.recorded_at[:10]) + datetime.timedelta(days=1)
    rows = []
    for document in runs:
        content = {key: value for key, value in document.items() if key != "id"}
        item: Draft = draft("runs", document["id"], content | {"provenance": SOURCE})
        rows.append(
            Row(
                **item.columns(),
                version=snapshot.version("runs", item.name) + 1,
                recorded_at=f"{day}T12:00:00.000000Z",
                recorded_by="a test",
                revision=snapshot.revision + 1,
            )
        )
    return snapshot.extended(rows)


def answer(snapshot: Snapshot, body: dict[str, Any] = REQUEST, **more: Any) -> EstimateResponse:
    return estimate(EstimateRequest.model_validate(body | more), Context(snapshot))


def part(found: EstimateResponse, path: str) -> Any:
    """The predicted number at a path such as `time.step_seconds`."""
    section, name = path.split(".")
    return getattr(getattr(found, section), name)


def spread(found: EstimateResponse, path: str) -> float:
    predicted = part(found, path)
    return math.log(predicted.high / predicted.low)


def jobs(general: EstimateResponse, count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Runs of a cluster that takes 1.3 of the time, 1.1 of the memory and 0.9 of the power."""
    noise = random.Random(seed)
    made = []
    for number in range(count):
        off = math.exp(noise.gauss(0.0, 0.03))
        observed = {
            "step_seconds": 1.3 * off * part(general, "time.step_seconds").value,
            "peak_bytes": 1.1 * off * part(general, "memory.peak_bytes").value,
        }
        made.append(run(f"job-{number:03d}", **observed))
    return made


@pytest.fixture(scope="module")
def general(seeded: Snapshot) -> EstimateResponse:
    return answer(seeded)


def test_twenty_runs_own_the_answer_and_all_that_follows_from_it(
    seeded: Snapshot, general: EstimateResponse
) -> None:
    found = answer(recorded(seeded, jobs(general, 20)), cluster="Blue")
    for path, factor in (
        ("time.step_seconds", 1.3),
        ("time.device_hours", 1.3),
        ("cost.usd", 1.3),
        ("memory.peak_bytes", 1.1),
    ):
        ratio = part(found, path).value / part(general, path).value
        assert ratio == pytest.approx(factor, rel=0.03), path
        assert spread(found, path) < spread(general, path), path
    assert spread(found, "time.step_seconds") < 0.5 * spread(general, "time.step_seconds")
    assert part(found, "carbon.energy_kwh").value > 1.1 * part(general, "carbon.energy_kwh").value
    assert found.parameters == general.parameters


def test_one_run_moves_the_answer_part_of_the_way(
    seeded: Snapshot, general: EstimateResponse
) -> None:
    found = answer(recorded(seeded, jobs(general, 1)), cluster="blue")
    ratio = part(found, "time.step_seconds").value / part(general, "time.step_seconds").value
    assert 1.02 < ratio < 1.25


def test_energy_beyond_the_time_is_power(seeded: Snapshot, general: EstimateResponse) -> None:
    hours = part(general, "time.device_hours").value
    energy = part(general, "carbon.energy_kwh").value
    runs = [run(f"e-{i}", device_hours=hours, energy_kwh=0.8 * energy) for i in range(20)]
    found = answer(recorded(seeded, runs), cluster="blue")
    assert part(found, "carbon.energy_kwh").value == pytest.approx(0.8 * energy, rel=0.02)
    assert part(found, "time.device_hours").value == pytest.approx(hours, rel=0.02)
    assert spread(found, "carbon.energy_kwh") < spread(general, "carbon.energy_kwh")


def test_throughput_and_step_time_say_the_same(seeded: Snapshot, general: EstimateResponse) -> None:
    step = part(general, "time.step_seconds").value
    each = part(general, "time.tokens_per_second_per_device").value
    by_step = answer(recorded(seeded, [run("a", step_seconds=1.2 * step)]), cluster="blue")
    rate = run("a", tokens_per_second=64 * each / 1.2)
    by_rate = answer(recorded(seeded, [rate]), cluster="blue")
    assert part(by_step, "time.step_seconds").value == pytest.approx(
        part(by_rate, "time.step_seconds").value, rel=1e-9
    )


def test_provenance_tells_which_runs_counted_and_assumptions_the_factors(
    seeded: Snapshot, general: EstimateResponse
) -> None:
    later = recorded(seeded, jobs(general, 3))
    found = answer(later, cluster="blue")
    base, _, runs = found.provenance.calibration.partition("+")
    assert base == general.provenance.calibration
    assert runs.startswith("blue:3:")
    told = [item for item in found.assumptions if item.origin == "calibration"]
    assert [item.field for item in told] == ["/cluster", "/cluster"]
    assert told[0].source is not None
    assert "3 runs of cluster blue" in told[0].source
    other = answer(recorded(seeded, jobs(general, 3, seed=2)), cluster="blue")
    assert other.provenance.calibration != found.provenance.calibration
    assert answer(later, cluster="blue") == found
    assert answer(later).time == general.time


def test_an_earlier_day_is_answered_without_the_later_runs(
    seeded: Snapshot, general: EstimateResponse
) -> None:
    later = recorded(seeded, jobs(general, 3))
    found = answer(later, cluster="blue", as_of=later.recorded_at[:10])
    assert part(found, "time.step_seconds") == part(general, "time.step_seconds")
    assert "cluster-without-runs" in {warning.code for warning in found.warnings}
    assert found.provenance.calibration == general.provenance.calibration


def test_runs_that_cannot_be_compared_do_not_count(seeded: Snapshot) -> None:
    unknown = run("a") | {"request": REQUEST | {"hardware": {"accelerator": "none-such"}}}
    failed = run("b", failures=3)
    hours = copy.deepcopy(run("c", device_hours=100.0))
    del hours["request"]["workload"]["tokens"]
    assert not evidence(recorded(seeded, [unknown, failed, hours]), "blue").id


def test_serving_says_that_runs_do_not_correct_it(seeded: Snapshot) -> None:
    body = {"model": REQUEST["model"], "workload": {"kind": "inference"}, "cluster": "blue"}
    found = answer(seeded, body)
    assert "cluster-not-used" in {warning.code for warning in found.warnings}


@pytest.mark.parametrize(("slower", "left"), [(1.4, 2 / 3), (0.6, 2 / 3), (1.0, 1.0)])
def test_half_of_a_clusters_runs_tell_the_other_half(
    seeded: Snapshot, slower: float, left: float
) -> None:
    """The measured multi-node runs, as they are and as a slower or faster cluster would have them.

    As they are, the general fit has seen them and leaves little to learn; over many halves,
    `python -m service.calibration.cluster` tells how much.
    """
    before, after = halves(seeded, slower)
    assert median(after) <= left * median(before)


def halves(snapshot: Snapshot, slower: float) -> tuple[list[float], list[float]]:
    """Errors of every second vTrain run without and with the others posted."""
    runs: list[RunFacts] = []
    for fact in snapshot.facts("runs"):
        assert isinstance(fact.payload, RunFacts)
        if fact.payload.cluster == "vtrain/multi-node":
            runs.append(fact.payload)
    documents = []
    for number, known in enumerate(runs[::2]):
        observed = {"step_seconds": slower * (known.observed.step_seconds or 0.0)}
        documents.append(run(f"half-{number}", "half", **observed) | {"request": known.request})
    with_half = recorded(snapshot, documents)
    errors: tuple[list[float], list[float]] = ([], [])
    for held in runs[1::2]:
        assert held.observed.step_seconds
        for found, more in zip(errors, ({}, {"cluster": "half"}), strict=True):
            value = part(answer(with_half, held.request, **more), "time.step_seconds").value
            found.append(abs(value / (slower * held.observed.step_seconds) - 1.0))
    return errors


# Over HTTP.


def test_a_run_is_posted_once_and_again_without_effect(keyed: httpx.Client) -> None:
    first = keyed.post("/runs", json=run("http/once"), headers=bearer(WRITE))
    assert (first.status_code, first.headers["etag"]) == (201, '"1"')
    again = keyed.post("/runs", json=run("http/once"), headers=bearer(WRITE))
    assert (again.status_code, again.json()) == (200, first.json())
    other = keyed.post("/runs", json=run("http/once", step_seconds=8.0), headers=bearer(WRITE))
    assert other.status_code == 409
    assert other.json()["errors"][0]["pointer"] == "/id"
    assert keyed.get("/runs/http/once").json() == first.json()


def test_runs_are_found_by_cluster_and_by_being_published(keyed: httpx.Client) -> None:
    for number in range(3):
        body = run(f"page/{number}", cluster="paged")
        assert keyed.post("/runs", json=body, headers=bearer(WRITE)).status_code == 201
    page = keyed.get("/runs?cluster=paged&published=false&limit=2").json()
    assert [item["name"] for item in page["items"]] == ["page/0", "page/1"]
    rest = keyed.get(f"/runs?cluster=paged&limit=2&cursor={page['next']}").json()
    assert [item["name"] for item in rest["items"]] == ["page/2"]
    published = keyed.get("/runs?published=true&limit=500").json()["items"]
    assert published
    assert all(item["provenance"]["source"] for item in published)
    assert not {"page/0", "page/1"} & {item["name"] for item in published}


def test_a_run_is_corrected_by_version_and_removed(keyed: httpx.Client) -> None:
    keyed.post("/runs", json=run("http/changed"), headers=bearer(WRITE))
    seen = keyed.get("/runs/http/changed")
    changed = seen.json() | {"observed": {"step_seconds": 7.5}}
    blind = keyed.put("/runs/http/changed", json=changed, headers=bearer(WRITE))
    assert blind.status_code == 428
    headers = bearer(WRITE) | {"If-Match": seen.headers["etag"]}
    made = keyed.put("/runs/http/changed", json=changed, headers=headers)
    assert (made.status_code, made.headers["etag"]) == (200, '"2"')
    assert made.json()["observed"]["step_seconds"] == 7.5
    assert keyed.put("/runs/http/changed", json=changed, headers=headers).status_code == 412
    gone = keyed.delete("/runs/http/changed", headers=bearer(WRITE) | {"If-Match": '"2"'})
    assert gone.status_code == 204
    assert keyed.get("/runs/http/changed").status_code == 404


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (bearer(READ), 403)])
def test_posting_needs_a_key_that_may_write(
    keyed: httpx.Client, headers: dict[str, str], status: int
) -> None:
    assert keyed.post("/runs", json=run("nokey"), headers=headers).status_code == status
    assert keyed.get("/runs/nokey").status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"observed": {}}, "/observed"),
        ({"observed": {"step_seconds": -1}}, "/observed/step_seconds"),
        ({"observed": {"failures": 1.5}}, "/observed/failures"),
        ({"request": {}}, "/request/model"),
        (
            {"request": REQUEST | {"hardware": {"accelerator": "h100-sxn"}}},
            "/request/hardware/accelerator",
        ),
        ({"cluster": "Not A Slug"}, "/cluster"),
        ({"id": ""}, "/id"),
        ({"provenance": SOURCE | {"valid_from": 0}}, "/provenance/valid_from"),
    ],
)
def test_a_run_that_teaches_nothing_is_refused_at_its_field(
    keyed: httpx.Client, change: dict[str, Any], pointer: str
) -> None:
    found = keyed.post("/runs", json=run("bad") | change, headers=bearer(WRITE))
    assert found.status_code == 422
    assert pointer in {error["pointer"] for error in found.json()["errors"]}


def test_the_next_estimate_of_the_cluster_knows_the_run(keyed: httpx.Client) -> None:
    body = REQUEST | {"cluster": "learning"}
    before = keyed.post("/estimate", json=body).json()
    step = before["time"]["step_seconds"]["value"]
    posted = run("learn/1", cluster="learning", step_seconds=2 * step)
    keyed.post("/runs", json=posted, headers=bearer(WRITE))
    after = keyed.post("/estimate", json=body).json()
    assert after["time"]["step_seconds"]["value"] > 1.05 * step
    assert "+learning:1:" in after["provenance"]["calibration"]


# One row for an id, whatever happens.

PARALLEL = 16


def posted_together(url: str, count: int) -> list[int]:
    """The statuses of as many threads that post one id at once."""
    start = threading.Barrier(count)

    def post(_: int) -> int:
        with httpx.Client(base_url=url, timeout=120) as client:
            start.wait()
            return client.post("/runs", json=run("same")).status_code

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(post, range(count)))


def one_row(database_url: str, count: int) -> None:
    prepared = Store(database_url)
    prepared.migrate()
    prepared.seed()
    prepared.close()
    with serving(Settings(database_url=database_url)) as url:
        statuses = posted_together(url, count)
    assert sorted(statuses) == [200] * (count - 1) + [201]
    fresh = Store(database_url)
    rows = [row for row in fresh.refresh().rows() if row.name == "same"]
    fresh.close()
    assert [row.version for row in rows] == [1]


def test_many_posts_of_one_id_at_once_leave_one_row(database_url: str) -> None:
    one_row(database_url, PARALLEL)


POSTER = """
import sys
from service.api.routes.runs import recorded
from service.api.run_models import RunSubmission
from service.catalog.store import Store
from tests.api.test_runs import run
store = Store(sys.argv[1])
store.refresh()
for number in range(int(sys.argv[2])):
    fact, _ = recorded(store, RunSubmission.model_validate(run(f"killed/{number}")), "a test")
    print(fact.name, flush=True)
"""


def poster(database_url: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", POSTER, database_url, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_post_one_id_leave_one_row(database_url: str) -> None:
    """A hundred do so through replicas, in `test_replicas`."""
    count = 3
    prepared = Store(database_url)
    prepared.migrate()
    prepared.seed()
    posting = [poster(database_url, 1) for _ in range(count)]
    outputs = [process.communicate()[0] for process in posting]
    assert outputs == ["killed/0\n"] * count
    rows = [row for row in prepared.refresh().rows() if row.name == "killed/0"]
    prepared.close()
    assert [row.version for row in rows] == [1]


def test_a_poster_that_is_killed_loses_no_run_that_it_acknowledged(database_url: str) -> None:
    prepared = Store(database_url)
    prepared.migrate()
    prepared.seed()
    acknowledged = []
    with poster(database_url, 1000) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 20:
                process.kill()
    runs = prepared.refresh().shelves["runs"]
    prepared.close()
    assert set(acknowledged) <= set(runs.rows)
    assert all(runs.fact(name) for name in runs.rows)
