"""The documents say what the program does: their examples are run, their tables are generated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.core import parameters
from service.core.architecture.families import layers
from service.core.architecture.families.config import Config
from service.settings import Settings
from tests import documents, endpoints, reference
from tests.conftest import serving


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[httpx.Client]:
    """A server as a new installation has it, whose catalog no test has written to."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'catalog.db'}")
    with serving(settings) as url, httpx.Client(base_url=url, timeout=30) as made:
        yield made


def test_readme_shows_the_real_answer_to_its_request(new_server: httpx.Client) -> None:
    text = documents.README.read_text(encoding="utf-8")
    made = documents.readme(text, lambda body: new_server.post("/estimate", json=body).json())
    assert text == made, "run make documents"


def test_readme_command_posts_the_request_that_is_answered() -> None:
    text = documents.README.read_text(encoding="utf-8")
    body = re.search(r"-d '(\{.*?\})'\n```", text, re.DOTALL)
    assert body is not None
    assert json.loads(body[1]) == documents.REQUEST


def test_page_of_endpoints_shows_real_answers_of_every_operation(new_server: httpx.Client) -> None:
    page = documents.ENDPOINTS.read_text(encoding="utf-8")
    assert page == endpoints.page(new_server), "run make documents"
    for one in endpoints.operations(new_server.get("/openapi.json").json()):
        assert f"## `{one.method.upper()} {one.path}`" in page


def test_page_of_problems_warnings_and_settings_is_complete() -> None:
    page = documents.REFERENCE.read_text(encoding="utf-8")
    assert page == reference.page(), "run make documents"
    warnings = reference.warnings()
    assert all(warnings.values()), [code for code, text in warnings.items() if not text]
    for code, _ in reference.warned():
        begin = code.removesuffix("...")
        assert any(known.startswith(begin) for known in warnings), code


def test_the_architecture_file_that_is_shown_describes_a_model() -> None:
    page = (documents.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    shown: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], shown)
    network = shown["FAMILIES"]["example"](Config({"model_type": "example"}))
    head, key, inner, hidden = 16, 2 * 16, 128, 64
    attention = 2 * hidden * hidden + 2 * hidden * key
    layer = attention + 3 * hidden * inner + 2 * hidden
    assert head * 4 == hidden
    assert parameters.count(network).total == 1000 * hidden + 2 * layer + hidden


def test_the_accelerator_and_the_price_that_are_shown_are_facts(new_server: httpx.Client) -> None:
    page = (documents.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    fact = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    created = new_server.put(f"/accelerators/{fact['name']}", json=fact)
    assert created.status_code == 201, created.text
    prices = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)[0]
    media = {"Content-Type": "text/csv"}
    imported = new_server.post("/import/prices", content=prices, headers=media)
    assert imported.status_code == 200, imported.text
    assert imported.json()["created"] == 1


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in (documents.README, *(documents.ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page.name, link)


def test_page_of_architectures_is_generated_from_the_registry() -> None:
    page = documents.ARCHITECTURES.read_text(encoding="utf-8")
    assert page == documents.architectures(), "run make documents"


def test_page_of_sizes_is_generated_by_the_laws() -> None:
    page = documents.SIZES.read_text(encoding="utf-8")
    assert page == documents.right_sizes(), "run make documents"


def test_page_of_sizes_judges_the_models_that_people_ask_about() -> None:
    rows = documents.SIZES.read_text(encoding="utf-8").splitlines()
    verdicts = {row.split(" | ")[0].strip("| "): row.split(" | ")[4] for row in rows[9:]}
    assert len(verdicts) > 60
    for name in ("gpt-3-175b", "gopher-280b"):
        assert verdicts[name] == "undertrained"
    for name in ("chinchilla-70b", "llama-65b"):
        assert verdicts[name] == "compute_optimal"
    for name in ("llama-7b", "llama-13b", "llama-33b", "llama-3.1-8b", "bert-base"):
        assert verdicts[name] == "overtrained"


def test_every_body_on_the_page_of_budgets_is_answered(client: httpx.Client) -> None:
    page = (documents.ROOT / "docs" / "compute-optimal.md").read_text(encoding="utf-8")
    bodies = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(bodies) >= 10
    for body in bodies:
        answer = client.post("/compute-optimal", json=json.loads(body))
        assert answer.status_code == 200, body


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


MODELS = documents.ROOT / "docs" / "models.md"
EXAMPLES = re.findall(r"```json\n(.*?)```", MODELS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text[9:40])
def test_every_example_of_a_model_is_answered(client: httpx.Client, example: str) -> None:
    response = client.post("/parameters", json={"model": json.loads(example)})
    assert response.status_code == 200, response.text
    assert response.json()["parameters"]["total"] > 0


def test_every_kind_of_model_has_an_example(client: httpx.Client) -> None:
    shown = {json.loads(example)["kind"] for example in EXAMPLES}
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    mapping = schemas["EstimateRequest"]["properties"]["model"]["discriminator"]["mapping"]
    assert shown == set(mapping)


def test_every_type_of_layer_is_documented() -> None:
    text = MODELS.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in layers.KINDS)
