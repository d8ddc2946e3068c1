"""Dependencies point one way: core <- catalog <- calibration <- api <- web, cli."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service

ROOT = Path(service.__file__).parent
MAY_USE = {
    "core": {"core"},
    "catalog": {"core", "catalog"},
    "calibration": {"core", "catalog", "calibration"},
    "trace": {"core", "trace"},
    "measure": {"trace", "measure"},
    "settings": set(),
    "api": {"core", "catalog", "calibration", "settings", "api"},
    "web": {"core", "catalog", "calibration", "settings", "api", "web"},
}
CORE_PACKAGES = {"numpy"}
CORE_FITS = {"scipy"}
"""Only where coefficients are fitted, never where they are used."""


def files(part: str) -> list[Path]:
    folder = ROOT / part
    single = folder.with_suffix(".py")
    return [single] if single.exists() else sorted(folder.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("part", MAY_USE)
def test_a_part_uses_only_what_lies_below_it(part: str) -> None:
    assert files(part) or part == "web"  # the page may be nothing but its HTML
    for path in files(part):
        for name in imports(path):
            package, _, rest = name.partition(".")
            if package == "service" and not rest.startswith("__"):
                assert rest.split(".")[0] in MAY_USE[part], f"{path} imports {name}"


def test_the_core_needs_numpy_and_nothing_else() -> None:
    for path in files("core"):
        for name in imports(path):
            package = name.split(".")[0]
            if package == "service" or package in sys.stdlib_module_names:
                continue
            allowed = CORE_PACKAGES | (CORE_FITS if "fit" in path.stem else set())
            assert package in allowed, f"{path} imports {name}"


@pytest.mark.parametrize(
    "module", ["socket", "sqlite3", "asyncio", "subprocess", "urllib", "time", "random"]
)
def test_the_core_has_no_clock_and_no_network(module: str) -> None:
    for path in files("core"):
        assert module not in {name.split(".")[0] for name in imports(path)}, path
        assert not re.search(r"\.(now|today|utcnow)\(", path.read_text(encoding="utf-8")), path


def test_every_part_has_its_rule() -> None:
    parts = {path.stem for path in ROOT.iterdir() if path.suffix in ("", ".py")}
    outer = {"__init__", "__main__", "cli", "__pycache__", "migrations"}
    assert parts - outer <= set(MAY_USE)
