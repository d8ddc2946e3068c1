"""A TypeScript caller, generated from the live document, type-checked, run against the server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests import tools


def run(folder: Path, *command: str) -> str:
    """What a command of the packages prints."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_typed_caller_gets_an_answer_a_problem_pages_and_a_sweep(
    server_url: str, tmp_path: Path
) -> None:
    folder = tools.packages(tmp_path / "npm")
    programs = folder / "node_modules" / ".bin"
    run(folder, f"{programs}/openapi-typescript", f"{server_url}/openapi.json", "-o", "schema.ts")
    run(folder, f"{programs}/tsc")
    found = json.loads(run(folder, "node", "out/client.js", server_url))
    assert found["total"] == 8_030_261_248
    assert "llama-3.1-8b" in found["suggestions"]
    first, second = found["pages"]
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)
    assert found["rows"] == 2
    assert set(found["columns"]) == {"/hardware/count", "/time/device_hours/value"}
