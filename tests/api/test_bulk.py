"""Bulk export and import over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from service.cli import main
from tests.api.secrets import WRITE, bearer
from tests.api.test_catalog_routes import region

CSV = bearer(WRITE) | {"content-type": "text/csv"}


@pytest.mark.parametrize(("form", "media"), [("csv", "text/csv"), ("json", "application/json")])
def test_what_is_exported_imports_without_a_change(
    keyed: httpx.Client, form: str, media: str
) -> None:
    text = keyed.get("/export/accelerators", params={"format": form})
    assert text.headers["content-type"].startswith(media)
    headers = bearer(WRITE) | {"content-type": media}
    report = keyed.post("/import/accelerators", content=text.content, headers=headers).json()
    assert (report["created"], report["updated"], report["invalid"]) == (0, 0, 0)
    assert report["unchanged"] > 40


def test_a_bad_row_is_named_by_its_line_and_nothing_is_written(keyed: httpx.Client) -> None:
    lines = keyed.get("/export/prices").text.splitlines()[:3]
    lines[1] = lines[1].replace("aws/", "test/", 1)
    lines[2] = lines[2].replace("aws/", "test/", 1).replace(",USD,", ",EUR,")
    body = "\n".join(lines)
    before = keyed.get("/readyz").json()["catalog"]
    dry = keyed.post("/import/prices?dry_run=true", content=body, headers=CSV).json()
    assert (dry["created"], dry["invalid"]) == (1, 1)
    assert dry["rows"][0]["line"] == 3
    refused = keyed.post("/import/prices", content=body, headers=CSV)
    assert refused.status_code == 422
    assert "line 3" in refused.json()["detail"]
    assert keyed.get("/readyz").json()["catalog"] == before


def test_an_import_needs_a_key_and_a_media_type(keyed: httpx.Client) -> None:
    plain = {"content-type": "text/plain"}
    assert keyed.post("/import/prices", content="x").status_code == 401
    answer = keyed.post("/import/prices", content="x", headers=bearer(WRITE) | plain)
    assert answer.status_code == 415
    assert keyed.post("/import/wishes", content="x", headers=CSV).status_code == 422


def test_the_command_line_imports_into_a_running_service(
    keyed_url: str, keyed: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "regions.json"
    path.write_text(json.dumps([region() | {"name": "country/qq", "title": "Q"}]))
    words = ["import", "regions", str(path), "--server", keyed_url]
    assert main(words) == 2, "no key was sent"
    monkeypatch.setenv("MODEL_SIZING_KEY", WRITE)
    assert main([*words, "--dry-run"]) == 0
    assert keyed.get("/regions/country/qq").status_code == 404
    assert main(words) == 0
    assert keyed.get("/regions/country/qq").json()["title"] == "Q"
    path.write_text(json.dumps([region() | {"name": "country/qr", "title": 5}]))
    assert main(words) == 2
