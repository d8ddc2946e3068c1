"""A second live server, with keys, on a catalog that the tests may write to."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.settings import ApiKey, Settings, digest
from tests.api.secrets import ADMIN, READ, WRITE
from tests.conftest import serving

KEYS = tuple(
    ApiKey(role, digest(secret))
    for role, secret in (("read", READ), ("write", WRITE), ("admin", ADMIN))
)


@pytest.fixture(scope="session")
def keyed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose catalog needs a key to be written."""
    folder = tmp_path_factory.mktemp("keyed")
    url = f"sqlite:///{folder / 'catalog.db'}"
    with serving(Settings(database_url=url, api_keys=KEYS, max_body_bytes=4 * 2**20)) as found:
        yield found


@pytest.fixture
def keyed(keyed_url: str) -> Iterator[httpx.Client]:
    """A client of the server with keys; it sends none by itself."""
    with httpx.Client(base_url=keyed_url, timeout=30) as made:
        yield made
