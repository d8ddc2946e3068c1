"""Keys: reading may be closed, two of a role stand side by side, only hashes are kept."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.api.keys import find
from service.settings import ApiKey, Settings, SettingsError, digest, from_environment
from tests.api.secrets import READ, WRITE, bearer
from tests.conftest import serving

OLD, NEW = "the-old-secret-of-a-writer", "the-new-secret-of-a-writer"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that nobody may read from without a key."""
    url = f"sqlite:///{tmp_path_factory.mktemp('closed') / 'catalog.db'}"
    keys = (ApiKey("read", digest(READ)), ApiKey("write", digest(WRITE)))
    with (
        serving(Settings(database_url=url, api_keys=keys, reads="closed")) as where,
        httpx.Client(base_url=where, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/openapi.json", "/", "/nothing"])
def test_where_reading_is_closed_everything_needs_a_key(closed: httpx.Client, path: str) -> None:
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic eA=="}):
        refused = closed.get(path, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthenticated")
        assert refused.headers["www-authenticate"].startswith("Bearer")
    for secret in (READ, WRITE):
        assert closed.get(path, headers=bearer(secret)).status_code != 401


def test_where_reading_is_closed_estimates_need_a_key_and_probes_do_not(
    closed: httpx.Client,
) -> None:
    body = {"model": {"kind": "catalog", "name": "gpt-2"}}
    assert closed.post("/estimate", json=body).status_code == 401
    assert closed.post("/estimate", json=body, headers=bearer(READ)).status_code == 200
    for probe in ("/livez", "/readyz", "/metrics"):
        assert closed.get(probe).status_code == 200


def test_two_keys_of_a_role_stand_side_by_side_and_only_their_hashes_are_kept() -> None:
    settings = from_environment({"MODEL_SIZING_API_KEYS": f"write:{OLD},write:{NEW}"})
    for secret in (OLD, NEW):
        key = find(settings, secret)
        assert key is not None
        assert (key.role, key.digest) == ("write", digest(secret))
        assert secret not in repr(settings)
    assert find(settings, "another") is None


def test_closed_reads_without_a_key_keep_it_from_starting_outside_loopback() -> None:
    outside = Settings(host="0.0.0.0", reads="closed", writes="closed")
    with pytest.raises(SettingsError, match="API_KEYS"):
        outside.checked()


def test_no_secret_and_no_address_of_the_database_stands_in_the_metrics(
    closed: httpx.Client,
) -> None:
    closed.get("/models", headers=bearer("a-secret-that-is-wrong"))
    text = closed.get("/metrics").text
    assert not [word for word in (READ, WRITE, "a-secret-that-is-wrong", "sqlite") if word in text]
