"""A grammar fuzz within this process: what each hostile body costs is known exactly."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import re
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.app import create_app
from service.api.lifespan import lifespan
from service.api.nesting import check, short
from service.api.problems import ProblemError
from service.api.request_bodies import MOST_FINDINGS
from service.api.resolve import models
from service.core.architecture.safetensors import MAXIMUM_TENSORS
from service.settings import Settings
from tests.api import test_fuzz as fuzz
from tests.api.test_fuzz import CASES, no_constant, paths

MOST_CPU_SECONDS = 0.25
MOST_BYTES = 50e6
ENDPOINTS = ("/estimate", "/sweep", "/compute-optimal")
GOOD = [(path, body) for path, body in CASES if path in ENDPOINTS]
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WORDS = (
    None, True, False, "", "NaN", "\ud800", "../../etc/passwd", "' OR 1=1 --", "h100-sxm", "bf16",
    "fp8", "gguf:Q4_K_M", "full", "x" * 5_000, [], {}, [[]], {"kind": "size"}, [None] * 100,
)  # fmt: skip


def number(rng: random.Random) -> float | int:
    """Of any size and sign; whole ones half of the time."""
    size = 10 ** rng.uniform(-320, 308) if rng.random() < 0.2 else 10 ** rng.uniform(-3, 16)
    value = rng.choice((1, 1, 1, -1)) * size
    if rng.random() < 0.05:
        return rng.choice((float("nan"), float("inf"), float("-inf"), 0, -0.0, 2**63, 10**400))
    return round(value) if rng.random() < 0.5 else value


def changed(rng: random.Random, body: Any) -> Any:
    """One node replaced, removed, repeated or wrapped."""
    body = copy.deepcopy(body)
    places = paths(body)
    if not places:
        return number(rng)
    *way, last = rng.choice(places)
    parent = body
    for step in way:
        parent = parent[step]
    act = rng.random()
    if act < 0.55:
        parent[last] = number(rng)
    elif act < 0.75:
        parent[last] = rng.choice(WORDS)
    elif act < 0.85:
        del parent[last]
    elif act < 0.95:
        parent[last] = [parent[last]] * rng.choice((1, 2, 50, 2_000))
    else:
        for _ in range(rng.choice((1, 100))):
            parent[last] = {"layers": [parent[last]]}
    return body


def cases(seed: int, count: int) -> Any:
    rng = random.Random(seed)
    for _ in range(count):
        path, body = rng.choice(GOOD)
        for _ in range(rng.choice((1, 1, 2, 3))):
            body = changed(rng, body)
        try:
            yield path, json.dumps(body).encode()
        except (ValueError, RecursionError):  # too long a number, too deep a nest for json itself
            continue


def resident(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found
    return float(found[1]) * 1024


class Tried:
    """What the bodies got and cost."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest: list[tuple[float, str]] = []
        self.largest: list[tuple[float, str]] = []

    def note(self, status: int, seconds: float, size: float, what: str) -> None:
        self.statuses[status] += 1
        self.slowest = sorted([*self.slowest, (seconds, what)], reverse=True)[:5]
        self.largest = sorted([*self.largest, (size, what)], reverse=True)[:5]


async def tried(settings: Settings, seed: int, count: int) -> Tried:
    app, found = create_app(settings), Tried()
    async with lifespan(app):
        for path, body in GOOD:
            await answered(app, path, json.dumps(body).encode())
        for path, body in cases(seed, count):
            CLEAR.write_text("5")
            before, started = resident("VmRSS"), time.process_time()
            status, answer = await answered(app, path, body)
            seconds = time.process_time() - started
            document = json.loads(answer, parse_constant=no_constant)
            assert status < 500, (path, body[:2_000], document)
            assert status == 200 or document["type"].startswith("/problems/")
            what = f"{path} {status} {body[:600].decode(errors='replace')}"
            found.note(status, seconds, resident("VmHWM") - before, what)
    return found


async def answered(app: Any, path: str, body: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])


@pytest.mark.parametrize(
    ("layer", "status"),
    [
        ({"type": "norm", "width": 8}, 200),
        ({"type": "embedding", "rows": 8, "width": 8}, 200),
        ({"type": "linear", "inputs": 0, "outputs": 10}, 200),
        ({"type": "parameter", "shape": [0]}, 422),
        ({"type": "flatten"}, 422),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else str(value),
)
def test_a_model_that_computes_nothing_is_answered_and_one_of_nothing_refused(
    client: httpx.Client, layer: dict[str, Any], status: int
) -> None:
    body = {"model": {"kind": "layers", "layers": [layer]}}
    found = client.post("/estimate", json=body)
    assert found.status_code == status, found.text


def test_of_a_long_axis_the_first_wrong_value_is_named_alone(client: httpx.Client) -> None:
    wrong = fuzz.changed(fuzz.SWEEP, ("axes", "/hardware/count"), [8, [8], [8]])
    found = client.post("/sweep", json=wrong).json()
    assert {error["pointer"] for error in found["errors"]} == {"/axes/~1hardware~1count/1"}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_thousands_of_wrong_fields_are_counted_and_not_named(
    client: httpx.Client, path: str
) -> None:
    found = client.post(path, json={f"field{number}": 1 for number in range(MOST_FINDINGS + 1)})
    assert (found.status_code, found.json()["type"]) == (413, "/problems/too-many-values")
    assert "errors" not in found.json()


@pytest.mark.parametrize(
    "value",
    [b",".join([b"[[[]]]"] * 200_000), b",".join([b'{"a":1}'] * 200_000), b"1," * 1_000_001 + b"1"],
    ids=["lists", "objects", "numbers"],
)
def test_a_body_of_more_objects_than_fit_into_memory_is_refused_unread(value: bytes) -> None:
    body = b'{"model":{"kind":"huggingface","config":{"x":[' + value + b"]}}}"
    with pytest.raises(ProblemError) as refused:
        check(body)
    assert refused.value.status == 413


@pytest.mark.parametrize(("tensors", "status"), [(MAXIMUM_TENSORS, 200), (92_000, 413)])
def test_headers_of_many_tensors_are_counted_up_to_a_limit(
    client: httpx.Client, tensors: int, status: int
) -> None:
    entry = {"dtype": "F8_E4M3", "shape": [2048, 7168], "data_offsets": [10**11, 10**11 + 1]}
    header = {f"model.layers.{n % 61}.mlp.experts.{n}.up": entry for n in range(tensors)}
    found = client.post("/estimate", json={"model": {"kind": "safetensors", "header": header}})
    assert found.status_code == status
    if status == 200:
        assert found.json()["parameters"]["total"] == tensors * 2048 * 7168
    else:
        assert "some files at a time" in found.json()["detail"]


def test_layers_that_all_differ_are_bounded(client: httpx.Client) -> None:
    unlike = [
        {
            "type": "block",
            "layer": True,
            "layers": [{"type": "linear", "inputs": n + 1, "outputs": 9}],
        }
        for n in range(models.MOST_KINDS + 1)
    ]
    large = {"type": "block", "layer": True, "layers": [LINEAR] * (models.MOST_INSIDE + 1)}
    for layers, status in ((unlike[1:], 200), (unlike, 422), ([large], 422)):
        body = {"model": {"kind": "layers", "layers": layers}}
        found = client.post("/estimate", json=body)
        assert found.status_code == status, found.text


LINEAR = {"type": "linear", "inputs": 2_000_000, "outputs": 2_000_000}


def repeated(levels: int, times: int, inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A layer within blocks that are each repeated."""
    for _ in range(levels):
        inner = {"type": "block", "repeat": times, "layers": [inner]} | more
    return inner


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([repeated(2, 1_000, {"type": "block", "layer": True, "layers": [LINEAR]})], "1000 layers"),
        ([repeated(15, 2, {"type": "block", "layer": True, "layers": [LINEAR]})], "1000 layers"),
        (
            [
                {
                    "type": "block",
                    "repeat": 1_000,
                    "layers": [LINEAR] * 4 + [{"type": "block", "layer": True, "layers": [LINEAR]}],
                }
            ],
            "between layers",
        ),
        ([repeated(30, 1_000, LINEAR)], "parameters"),
    ],
    ids=["layers", "deep", "operators", "parameters"],
)
def test_repeats_of_repeats_are_counted_before_they_are_walked(
    client: httpx.Client, layers: list[dict[str, Any]], told: str
) -> None:
    found = client.post("/estimate", json={"model": {"kind": "layers", "layers": layers}})
    assert found.status_code == 422
    assert told in found.json()["detail"]


def test_a_tensor_whose_layer_has_thousands_of_digits_is_one_outside_the_layers(
    client: httpx.Client,
) -> None:
    header = {f"layers.{'9' * 5_000}.w": {"dtype": "F32", "shape": [2]}}
    found = client.post("/parameters", json={"model": {"kind": "safetensors", "header": header}})
    assert (found.status_code, found.json()["parameters"]["total"]) == (200, 2)


@pytest.mark.parametrize("path", ["/sweep", "/layouts"])
def test_names_of_tensors_compute_nothing_that_could_be_timed(
    client: httpx.Client, path: str
) -> None:
    header = {"h.0.w": {"dtype": "BF16", "shape": [64, 64]}}
    request = {"model": {"kind": "safetensors", "header": header}}
    axes = {"/hardware/count": [1, 2]}
    body = {"base": request, "axes": axes} if path == "/sweep" else {"request": request}
    found = client.post(path, json=body)
    assert found.status_code == 422
    assert "architecture" in found.json()["detail"]


def test_a_replica_of_millions_of_devices_is_divided_without_trying_every_number(
    client: httpx.Client,
) -> None:
    body = fuzz.SERVING | {"hardware": {"accelerator": "h100-sxm", "count": 10_000_000}}
    found = client.post("/estimate", json=body).json()
    assert "pipeline 312500 is more" in found["detail"]


def test_a_document_is_told_to_be_long_without_being_looked_through() -> None:
    assert short({"hidden_size": 4096, "architectures": ["LlamaForCausalLM"]})
    assert not short({str(number): number for number in range(5_000)})
    assert not short([[["x" * 70_000]]])


def test_a_claim_of_next_to_nothing_is_refused_and_not_answered_with_infinity(
    client: httpx.Client,
) -> None:
    found = client.post("/claims/check", json={"device_hours": 5e-324, "parameters": 175e9})
    assert (found.status_code, found.json()["errors"][0]["pointer"]) == (422, "/device_hours")


needs_proc = pytest.mark.skipif(not CLEAR.exists(), reason="needs Linux' /proc to see peaks")


@needs_proc
def test_hostile_bodies_cost_little_memory(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'catalog.db'}")
    found = asyncio.run(tried(settings, 1, 300))
    assert found.largest[0][0] < MOST_BYTES, found.largest[0]


@needs_proc
@pytest.mark.soak
def test_200_000_hostile_bodies_cost_little(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'catalog.db'}")
    found = asyncio.run(tried(settings, 2, 200_000))
    print(dict(found.statuses))
    for seconds, what in found.slowest:
        print(f"{seconds:.3f} s CPU: {what}")
    for size, what in found.largest:
        print(f"{size / 1e6:.1f} MB: {what}")
    assert found.largest[0][0] < MOST_BYTES
    assert found.slowest[0][0] < MOST_CPU_SECONDS


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100 + b'"a",' * 500_000,
        b"[" * 70 + b'"' + b"a[" * 1_000_000 + b'"',
        b"[" * 60 + b'"' + b'\\"[' * 1_000_000,
        (b"[" * 30 + b'"') * 60_000,
    ],
    ids=["strings", "one string", "escapes", "no end"],
)
def test_how_deeply_a_body_is_nested_is_told_in_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(ProblemError):
            check(body)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES / 2
    finally:
        tracemalloc.stop()
