"""The catalog over HTTP: pages, entity tags, keys, and writers that do not lose each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.secrets import ADMIN, READ, WRITE, bearer

KINDS = ("models", "accelerators", "regions", "prices", "claims", "reports", "runs")


def region(grid: float = 100.0) -> dict[str, Any]:
    return {
        "title": "Utopia",
        "scope": "country",
        "country": "UT",
        "grid_gco2e_per_kwh": grid,
        "grid_year": 2024,
        "grid_quality": "country",
        "provenance": {"source": "a test", "licence": "none"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_pages_hold_every_fact_once_in_the_order_of_names(client: httpx.Client, kind: str) -> None:
    names: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/{kind}", params=query).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == sorted(set(names))
    assert names


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/models?family=llama", "family", "llama"),
        ("/accelerators?vendor=AMD", "vendor", "AMD"),
        ("/regions?scope=cloud&provider=gcp", "provider", "gcp"),
        ("/prices?accelerator=h100-sxm&term=spot", "term", "spot"),
    ],
)
def test_filters_keep_what_matches(client: httpx.Client, path: str, field: str, value: str) -> None:
    items = client.get(path).json()["items"]
    assert items
    assert {item[field] for item in items} == {value}


def test_a_name_may_hold_a_slash_and_an_alias_finds_the_same_fact(client: httpx.Client) -> None:
    found = client.get("/regions/country/fr").json()
    assert found["name"] == "country/fr"
    assert client.get("/regions/france").json() == found
    assert client.get("/v1/regions/france").json() == found


def test_a_near_miss_is_a_404_that_suggests(client: httpx.Client) -> None:
    answer = client.get("/models/llama-3.1-8")
    assert answer.status_code == 404
    assert "llama-3.1-8b" in answer.json()["errors"][0]["suggestions"]


def test_an_unknown_filter_and_a_foreign_cursor_are_refused(client: httpx.Client) -> None:
    for query, parameter in (
        ("famly=llama", "famly"),
        ("cursor=%21", "cursor"),
        ("limit=0", "limit"),
    ):
        answer = client.get(f"/models?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize("path", ["/models/gpt-2", "/models?limit=2"])
def test_what_is_known_is_not_sent_again(client: httpx.Client, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_a_fact_is_written_read_changed_and_removed(keyed: httpx.Client) -> None:
    path = "/regions/country/ut"
    made = keyed.put(path, json=region(), headers=bearer(WRITE))
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    seen = keyed.get(path)
    assert seen.json() == made.json()
    changed = seen.json() | {"grid_gco2e_per_kwh": 50}
    headers = bearer(WRITE) | {"If-Match": seen.headers["etag"]}
    assert keyed.put(path, json=changed, headers=headers).headers["etag"] == '"2"'
    assert keyed.delete(path, headers=bearer(ADMIN)).status_code == 428
    gone = keyed.delete(path, headers=bearer(ADMIN) | {"If-Match": '"2"'})
    assert gone.status_code == 204
    assert keyed.get(path).status_code == 404


def test_of_two_writers_one_wins_and_the_other_gets_412(keyed: httpx.Client) -> None:
    path = "/regions/country/race"
    keyed.put(path, json=region() | {"title": "Race"}, headers=bearer(WRITE))

    def write(grid: float) -> int:
        headers = bearer(WRITE) | {"If-Match": '"1"'}
        return keyed.put(path, json=region(grid), headers=headers).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(write, (1.0, 2.0))) == [200, 412]


def test_an_existing_fact_is_not_overwritten_blindly(keyed: httpx.Client) -> None:
    answer = keyed.put("/regions/world", json=region(), headers=bearer(WRITE))
    assert answer.status_code == 428
    assert answer.json()["errors"][0]["parameter"] == "If-Match"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("wrong"), 401),
        (bearer(READ), 403),
        ({"Authorization": "Basic eA=="}, 401),
    ],
)
def test_writing_needs_a_key_of_the_role(
    keyed: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = keyed.put("/regions/country/xx", json=region(), headers=headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert keyed.get("/regions/country/xx").status_code == 404


def test_physical_nonsense_is_refused_with_its_field(keyed: httpx.Client) -> None:
    answer = keyed.put("/regions/country/yy", json=region(grid=5_000), headers=bearer(WRITE))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/grid_gco2e_per_kwh"


def test_the_catalog_of_a_past_day_is_answered_and_one_before_it_is_refused(
    client: httpx.Client,
) -> None:
    assert client.get("/models/gpt-2?as_of=2026-11-02").status_code == 200
    early = client.get("/models/gpt-2?as_of=2001-01-01")
    assert early.status_code == 422
    assert early.json()["type"] == "/problems/outside-the-catalog"


HOSTILE = ("'); DROP TABLE facts; --", "' OR '1'='1", "$(touch x) `touch x`", "../../etc/passwd")


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_a_caller_writes_is_a_value_and_nothing_else(keyed: httpx.Client, number: int) -> None:
    text, path = HOSTILE[number], f"/regions/ut-hostile-{number}"
    written = region() | {"title": text}
    assert keyed.put(path, json=written, headers=bearer(WRITE)).status_code == 201
    assert keyed.get(path).json()["title"] == text
    found = keyed.get("/regions", params={"q": text}).json()["items"]
    assert [item["name"] for item in found] == [path.removeprefix("/regions/")]
    assert keyed.get("/regions", params={"country": text}).json()["items"] == []
    assert keyed.get(f"/regions/{quote(text, safe='')}").status_code in (404, 422)
    assert keyed.get("/readyz").status_code == 200
