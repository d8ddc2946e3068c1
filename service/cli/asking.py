"""Verbs that ask the API, in this process or on a server."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service import settings

KEY = settings.PREFIX + "KEY"
"""The variable that holds the secret that is sent to a server."""
QUESTIONS = {
    "estimate": "everything that can be said of a job",
    "parameters": "exact parameter counts",
    "memory": "peak memory of one device",
    "training-time": "how long training takes",
    "carbon": "energy and emissions",
    "compute-optimal": "the best size for a budget",
    "layouts": "the best parallel layouts under caps",
    "sweep": "every combination of some fields",
}
STATUS = {"fits": 0, "at_risk": 3, "does_not_fit": 4}
"""Exit status by admission."""


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the questions."""
    for name, text in QUESTIONS.items():
        verb = verbs.add_parser(name, help=text)
        help_text = "a file with the JSON request or a config.json, or - for standard input"
        verb.add_argument("request", help=help_text)
        verb.add_argument("--json", action="store_true", help="print the answer as JSON")
        verb.add_argument("--server", metavar="URL", help="ask this server")


def ask(found: settings.Settings, options: argparse.Namespace) -> int:
    """Ask one question and print the answer."""
    text = sys.stdin.read() if options.request == "-" else Path(options.request).read_text("utf-8")
    body, path = request_of(text), f"/{options.verb}"
    if options.server:
        status, answer = sent("POST", options.server.rstrip("/") + path, body, authorization())
    else:
        from service.api.inprocess import answered

        status, answer = asyncio.run(answered(found, path, body))
    document = json.loads(answer)
    if options.json or status != 200:
        print(json.dumps(document, indent=1))
    else:
        print("\n".join(readable(document)))
    if status != 200:
        return 2 if status < 500 else 1
    verdict = document.get("verdict") if isinstance(document, dict) else None
    return STATUS[verdict["admission"]] if verdict else 0


def request_of(text: str) -> bytes:
    """The body to post: a bare config.json is wrapped into a request."""
    try:
        given = json.loads(text)
    except ValueError:
        return text.encode()
    if isinstance(given, dict) and "model_type" in given:
        given = {"model": {"kind": "huggingface", "config": given}}
    return json.dumps(given).encode()


def authorization() -> dict[str, str]:
    """The header with the caller's key, where there is one."""
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def sent(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """The status and body that a server answers a request with, JSON unless a header says."""
    request = urllib.request.Request(
        url, body, {"Content-Type": "application/json", **headers}, method=method
    )
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def readable(document: Any, path: str = "") -> Iterator[str]:
    """The answer as lines of `field  value`, intervals on one line, assumptions as a list."""
    if isinstance(document, Mapping):
        if set(document) == {"value", "low", "high"}:
            yield _line(path, f"{_short(document['value'])}  ({_span(document)})")
            return
        for name, value in document.items():
            yield from readable(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        yield from _listed(document, path)
    elif document is not None:
        yield _line(path, _short(document))


def _listed(items: list[Any], path: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and "origin" in item:
            yield _line(f"{path} {item['field']}", f"{_short(item['value'])}  [{item['origin']}]")
        elif isinstance(item, Mapping) and set(item) == {"code", "message"}:
            yield _line(f"{path} {item['code']}", item["message"])
        elif isinstance(item, Mapping):
            yield _line(path, json.dumps(item))
        else:
            yield _line(path, _short(item))


def _line(name: str, value: str) -> str:
    return f"{name:<52} {value}"


def _span(interval: Mapping[str, float]) -> str:
    return f"{_short(interval['low'])} to {_short(interval['high'])}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
