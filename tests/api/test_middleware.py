"""Request ids, headers, logs, metrics, the gate and the last resort."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.logs import JsonLines
from service.api.middleware import BodyGuard, Gate, Observe


def test_a_request_id_is_kept_or_made(client: httpx.Client) -> None:
    kept = client.get("/livez", headers={"X-Request-ID": "job-7"})
    assert kept.headers["x-request-id"] == "job-7"
    first, second = (client.get("/livez").headers["x-request-id"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "<script>"])
def test_a_request_id_that_could_do_harm_is_replaced(client: httpx.Client, bad: str) -> None:
    answer = client.get("/livez", headers={"X-Request-ID": bad})
    assert answer.headers["x-request-id"] != bad


def test_security_headers_are_on_every_answer(client: httpx.Client) -> None:
    for path in ("/livez", "/nothing", "/models/gpt-2"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


def test_metrics_count_by_route_template_and_never_by_name(client: httpx.Client) -> None:
    client.get("/models/gpt-2")
    client.get("/models/a-name-that-nobody-has")
    text = client.get("/metrics").text
    assert 'route="/models/{name:path}",status="404"' in text
    assert "a-name-that-nobody-has" not in text
    assert "model_sizing_catalog_revision 1.0" in text
    assert "model_sizing_database_up 1.0" in text
    assert "model_sizing_database_connections 0.0" in text


def test_every_metric_of_our_own_is_documented(client: httpx.Client) -> None:
    client.post("/estimate", json={"model": {"kind": "catalog", "name": "gpt-2"}})
    told = re.findall(r"^# TYPE (model_sizing_\w+)", client.get("/metrics").text, re.MULTILINE)
    names = {name for name in told if not name.endswith("_created")}
    assert len(names) >= 7
    documented = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text("utf-8")
    assert {name for name in names if f"`{name}" not in documented} == set()


def test_readiness_names_the_catalog(client: httpx.Client) -> None:
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["catalog"].startswith("1-")


Messages = list[dict[str, Any]]


def call(app: Any, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> Messages:
    """Send one request through an ASGI application."""
    return asyncio.run(called(app, body, headers))


async def called(
    app: Any,
    body: bytes = b"",
    headers: list[tuple[bytes, bytes]] | None = None,
    path: str = "/x",
) -> Messages:
    sent: Messages = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": headers or [],
        "query_string": b"",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def test_an_exception_leaves_as_a_500_problem_without_its_text() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the secret is hunter2")

    seen: list[tuple[str, str, int]] = []
    app = Observe(broken, lambda method, route, status, _: seen.append((method, route, status)))
    start, body = call(app)
    document = json.loads(body["body"])
    assert start["status"] == document["status"] == 500
    assert "hunter2" not in body["body"].decode()
    assert document["request_id"] in document["detail"]
    assert seen == [("POST", "unmatched", 500)]


def test_a_log_line_is_one_json_object_with_the_route_and_not_the_body(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "service.access"):
        call(Observe(answer, lambda *_: None), b"hunter2")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert {"time", "level", "request_id", "method", "route", "status", "ms"} <= set(line)
    assert "\n" not in lines[0]
    assert "hunter2" not in lines[0]


def test_the_gate_refuses_what_is_too_much_and_opens_again() -> None:
    async def scenario() -> tuple[Messages, Messages, Messages]:
        release = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await answer(scope, receive, send)

        gate = Gate(slow, limit=1)
        first = asyncio.create_task(called(gate))
        await asyncio.sleep(0)
        refused = await called(gate)
        release.set()
        return refused, await first, await called(gate)

    refused, first, later = asyncio.run(scenario())
    assert refused[0]["status"] == 503
    assert (b"retry-after", b"1") in refused[0]["headers"]
    assert (first[0]["status"], later[0]["status"]) == (200, 200)


def test_bulk_work_takes_half_of_the_places() -> None:
    async def scenario() -> list[int]:
        release = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await answer(scope, receive, send)

        gate = Gate(slow, limit=4)
        tasks = []
        for path in ("/sweep", "/sweep", "/layouts", "/x", "/x", "/x"):
            tasks.append(asyncio.create_task(called(gate, path=path)))
            await asyncio.sleep(0)
        release.set()
        return [(await task)[0]["status"] for task in tasks]

    assert asyncio.run(scenario()) == [200, 200, 503, 200, 200, 503]


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def stuck() -> dict[str, Any]:
        await asyncio.sleep(3_600)
        raise AssertionError

    async def scenario() -> Messages:
        sent: Messages = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/x", "headers": [(b"content-length", b"5")]}
        await BodyGuard(answer, limit=100, seconds=0.01)(scope, stuck, send)
        return sent

    assert asyncio.run(scenario())[0]["status"] == 408
