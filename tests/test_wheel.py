"""What `pip install .` installs: the wheel, built and looked into, and run from a bare folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--no-cache-dir")
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), "."]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_pages_the_facts_the_fits_and_the_migrations(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        *ROOT.glob("service/web/static/*"),
        *ROOT.glob("service/catalog/seed/*"),
        *ROOT.glob("service/core/*_data/*.json"),
        ROOT / "service/api/openapi.json",
    ]
    assert {str(path.relative_to(ROOT)) for path in wanted if path.is_file()} <= held
    versions = ROOT.glob("migrations/versions/*.py")
    assert {f"service/migrations/versions/{path.name}" for path in versions} <= held
    assert not [name for name in held if name.startswith("tests/")]
    entry = next(name for name in held if name.endswith("entry_points.txt"))
    assert b"model-sizing = service.__main__:main" in zipfile.ZipFile(wheel).read(entry)


def test_the_wheel_answers_where_the_sources_are_not(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "request.json").write_text('{"model": {"kind": "catalog", "name": "gpt-2"}}')
    settings = {
        "MODEL_SIZING_DATABASE_URL": f"sqlite:///{tmp_path / 'catalog.db'}",
        "PYTHONPATH": str(tmp_path / "installed"),
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import service; print(service.__file__)").startswith(str(tmp_path))
    answer = json.loads(run("-m", "service", "parameters", "request.json", "--json"))
    assert answer["parameters"]["total"] == 124_439_808
