"""POST /estimate against a route that only validates and serialises the same bodies."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from fastapi import FastAPI

from service.api.app import create_app
from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse
from service.settings import Settings
from tests.bench.bench_core import LLAMA
from tests.documents import REQUEST

Figure = tuple[str, float, str]
TIMES = 300


def run() -> Iterator[Figure]:
    """CPU of one request inside the process, without a network; medians of five batches."""
    with tempfile.TemporaryDirectory() as folder:
        yield from asyncio.run(_measured(Settings(database_url=f"sqlite:///{folder}/catalog.db")))


async def _measured(settings: Settings) -> list[Figure]:
    app = create_app(settings)
    by_config = REQUEST | {"model": {"kind": "huggingface", "config": LLAMA}}
    figures: list[Figure] = []
    async with app.router.lifespan_context(app):
        for name, body in (("by name", REQUEST), ("by config.json", by_config)):
            answer = await _call(app, "/estimate", body)
            app_seconds, idle = [], []
            noop = _noop(answer)
            for _ in range(5):
                app_seconds.append(await _each(app, "/estimate", body))
                idle.append(await _each(noop, "/noop", body))
            ours, least = statistics.median(app_seconds), statistics.median(idle)
            figures.append((f"POST /estimate {name}", ours * 1e6, "us of CPU"))
            figures.append((f"no-op route with the same bodies, {name}", least * 1e6, "us of CPU"))
            ratios = [a / b for a, b in zip(app_seconds, idle, strict=True)]
            figures.append((f"ratio {name}", statistics.median(ratios), ""))
            unseen = statistics.median([await _unseen(app, body) for _ in range(5)])
            figures.append(
                (f"POST /estimate {name}, never asked before", unseen * 1e6, "us of CPU")
            )
    return figures


def _noop(answer: bytes) -> FastAPI:
    """The same request and response models, and nothing between."""
    app = FastAPI(separate_input_output_schemas=False)
    response = EstimateResponse.model_validate_json(answer)

    @app.post("/noop", response_model=EstimateResponse)
    async def noop(request: EstimateRequest) -> EstimateResponse:
        return response

    return app


async def _each(app: Any, path: str, body: Any) -> float:
    start = time.process_time()
    for _ in range(TIMES):
        await _call(app, path, body)
    return (time.process_time() - start) / TIMES


_numbers = count(1)


async def _unseen(app: Any, body: Any) -> float:
    """The same, for requests that all differ."""
    bodies = [
        body | {"workload": {"kind": "pretraining", "tokens": 1e12 + next(_numbers)}}
        for _ in range(TIMES)
    ]
    start = time.process_time()
    for different in bodies:
        await _call(app, "/estimate", different)
    return (time.process_time() - start) / TIMES


async def _call(app: Any, path: str, body: Any) -> bytes:
    """One request through the ASGI interface; the answer's body."""
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
        chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(chunks)
