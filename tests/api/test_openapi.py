"""The contract: the committed OpenAPI document, and a Python client that is generated from it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from service.api import openapi
from tests.api.secrets import ADMIN, bearer

COMMITTED = Path(openapi.__file__).parent / "openapi.json"
REFRESH = "run `python -m service openapi > service/api/openapi.json`"


def test_the_committed_document_is_the_one_that_is_served(client: httpx.Client) -> None:
    assert json.loads(COMMITTED.read_text("utf-8")) == client.get("/openapi.json").json(), REFRESH


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_a_stable_name_a_summary_and_typed_problems() -> None:
    document = json.loads(COMMITTED.read_text("utf-8"))
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for where, operation in operations(document):
        assert operation["summary"], where
        for status in ("4XX", "5XX"):
            content = operation["responses"][status]["content"]
            reference = content["application/problem+json"]["schema"]["$ref"]
            assert reference == "#/components/schemas/Problem", where


def test_every_request_body_has_an_example_that_is_answered(keyed: httpx.Client) -> None:
    document = json.loads(COMMITTED.read_text("utf-8"))
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        if "post" not in methods or path.startswith("/import"):
            continue
        body = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
        examples = schemas[body["$ref"].rpartition("/")[2]]["examples"]
        for example in examples:
            answer = keyed.post(path, json=example, headers=bearer(ADMIN))
            assert answer.status_code in (200, 201), (path, answer.text)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The client package that openapi-python-client writes."""
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.json"
    config.write_text('{"post_hooks": [], "package_name_override": "model_sizing_client"}')
    command = [
        str(Path(sys.executable).parent / "openapi-python-client"),
        "generate",
        f"--path={COMMITTED}",
        f"--config={config}",
        f"--output-path={folder / 'out'}",
        "--meta=none",
        "--fail-on-warning",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "out").rename(folder / "model_sizing_client")
    sys.path.insert(0, str(folder))
    return importlib.import_module("model_sizing_client")


def test_the_generated_client_gets_a_typed_answer_and_a_typed_problem(
    generated: ModuleType, server_url: str
) -> None:
    models = importlib.import_module("model_sizing_client.models")
    estimate = importlib.import_module("model_sizing_client.api.estimates.estimate")
    with generated.Client(base_url=server_url) as api:
        model = models.CatalogModel(kind="catalog", name="llama-3.1-8b")
        answer = estimate.sync(client=api, body=models.EstimateRequest(model=model))
        assert isinstance(answer, models.EstimateResponse)
        assert answer.parameters.total == 8_030_261_248
        assert answer.memory.peak_bytes.low < answer.memory.peak_bytes.high
        unknown = models.EstimateRequest(models.CatalogModel(kind="catalog", name="llama-3.1-8"))
        problem = estimate.sync(client=api, body=unknown)
        assert isinstance(problem, models.Problem)
        assert problem.errors[0].pointer == "/model/name"
        assert "llama-3.1-8b" in problem.errors[0].suggestions


def test_the_generated_client_reads_the_catalog(generated: ModuleType, server_url: str) -> None:
    models = importlib.import_module("model_sizing_client.models")
    read = importlib.import_module("model_sizing_client.api.catalog.get_accelerator")
    with generated.Client(base_url=server_url) as api:
        found = read.sync(client=api, name="h100-sxm")
        assert isinstance(found, models.AcceleratorDocument)
        assert found.devices_per_node == 8
        assert isinstance(read.sync(client=api, name="h100-sxn"), models.Problem)
