"""Errors have one shape, whatever goes wrong: RFC 9457."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from service.api.problems import KINDS

MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}


def problem(answer: httpx.Response) -> dict:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) >= MEMBERS
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["x-request-id"]
    kind = document["type"].removeprefix("/problems/")
    assert KINDS[kind].title == document["title"]
    return document


def test_an_unknown_path_is_a_404_problem(client: httpx.Client) -> None:
    assert problem(client.get("/nothing"))["status"] == 404


def test_a_wrong_method_is_a_405_that_names_all_that_are_right(client: httpx.Client) -> None:
    answer = client.post("/models/gpt-2", json={})
    assert problem(answer)["status"] == 405
    assert answer.headers["allow"] == "GET, PUT, DELETE"


def test_a_declared_body_above_the_limit_is_a_413(keyed: httpx.Client) -> None:
    answer = keyed.put("/regions/x", content=b" " * (5 * 2**20))
    assert problem(answer)["type"] == "/problems/body-too-large"


def test_a_streamed_body_above_the_limit_is_a_413(keyed: httpx.Client) -> None:
    pieces = (b" " * 2**20 for _ in range(6))
    answer = keyed.put("/regions/x", content=pieces)
    assert problem(answer)["type"] == "/problems/body-too-large"


def test_a_body_that_is_no_json_is_a_400_that_tells_where(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    answer = client.put("/regions/x", content=b'{"title": }', headers=headers)
    assert problem(answer)["status"] == 400
    assert "character 10" in answer.json()["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/xml", None])
def test_another_media_type_is_a_415(client: httpx.Client, media: str | None) -> None:
    headers = {"content-type": media} if media else {}
    answer = client.put("/regions/x", content=b"{}", headers=headers)
    assert problem(answer)["status"] == 415


@pytest.mark.parametrize("body", [b"[" * 2_000_000, b'{"a":' * 400_000, b"[" * 65 + b'"]' * 9])
def test_deep_nesting_is_refused_before_it_is_parsed(client: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.put("/regions/x", content=body, headers=headers)
    assert problem(answer)["type"] == "/problems/nested-too-deeply"


def test_brackets_inside_strings_do_not_count_as_nesting(keyed: httpx.Client) -> None:
    answer = keyed.put("/regions/x", json={"title": "[" * 200})
    assert problem(answer)["status"] != 400


def test_bytes_that_are_no_utf8_are_a_400(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    answer = client.put("/regions/x", content=b'{"title": "\xff\xfe"}', headers=headers)
    assert problem(answer)["status"] == 400


def test_every_kind_of_problem_can_be_looked_up(client: httpx.Client) -> None:
    for kind, about in KINDS.items():
        found = client.get(f"/problems/{kind}").json()
        assert found == {"type": f"/problems/{kind}", "title": about.title, "status": about.status}


def test_a_request_that_is_no_http_does_not_take_the_server_down(
    server_url: str, client: httpx.Client
) -> None:
    where = urlsplit(server_url)
    with socket.create_connection((where.hostname, where.port), timeout=5) as raw:
        raw.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert b"400" in raw.recv(100)
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("part", "field", "said"),
    [
        ("hardware", "acelerator", "did you mean accelerator?"),
        ("hardware", "memory_bytes", "the fields are accelerator, count"),
        ("layout", "data", "the fields are attention_data_parallel, context"),
        ("workload", "seq_length", "did you mean sequence_length?"),
    ],
)
def test_an_unknown_field_is_answered_with_the_fields_of_that_place(
    client: httpx.Client, part: str, field: str, said: str
) -> None:
    body: dict = {
        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
        "workload": {"kind": "pretraining"},
    }
    body[part] = {**body.get(part, {}), field: 1}
    (error,) = problem(client.post("/estimate", json=body))["errors"]
    assert error["pointer"] == f"/{part}/{field}"
    assert said in error["detail"]


def test_a_number_in_quotes_is_told_to_lose_them(client: httpx.Client) -> None:
    body = {"model": {"kind": "size", "parameters": "7B"}}
    (error,) = problem(client.post("/estimate", json=body))["errors"]
    assert (error["pointer"], "without quotes" in error["detail"]) == ("/model/parameters", True)
