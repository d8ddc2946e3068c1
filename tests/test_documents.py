"""The documents say what the program does: their examples are run, their tables are generated."""

from __future__ import annotations

import json
import re

import httpx

from tests import documents


def test_readme_shows_the_real_answer_to_its_request(client: httpx.Client) -> None:
    text = documents.README.read_text(encoding="utf-8")
    made = documents.readme(text, lambda body: client.post("/estimate", json=body).json())
    assert text == made, "run python -m tests.documents"


def test_readme_command_posts_the_request_that_is_answered() -> None:
    text = documents.README.read_text(encoding="utf-8")
    body = re.search(r"-d '(\{.*?\})'\n```", text, re.DOTALL)
    assert body is not None
    assert json.loads(body[1]) == documents.REQUEST


def test_page_of_architectures_is_generated_from_the_registry() -> None:
    assert documents.ARCHITECTURES.read_text(encoding="utf-8") == documents.architectures()


def test_every_endpoint_of_the_readme_exists(client: httpx.Client) -> None:
    text = documents.README.read_text(encoding="utf-8")
    table = text[text.index("| endpoint |") : text.index("The same routes")]
    paths = set(re.findall(r"`(?:GET |POST )?(/[a-z/-]*)`", table))
    described = set(client.get("/openapi.json").json()["paths"])
    pages = {"/", "/openapi.json", "/livez", "/readyz", "/metrics"}
    assert paths - pages <= described
    assert all(client.get(path).status_code == 200 for path in pages)


def test_setup_stands_on_the_first_screen_of_the_readme() -> None:
    first = documents.README.read_text(encoding="utf-8").splitlines()[:24]
    assert any(line.startswith("make run") for line in first)
    assert any(line.startswith("make test") for line in first)
