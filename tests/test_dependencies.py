"""Dependencies point one way: core <- catalog <- calibration <- api <- web, cli."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
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
PACKAGES = {"pydantic_core": "pydantic"}
UNIMPORTED = {"nvidia-ml-py", "plotly", "psycopg"}
"""Two are loaded by their names where they are wanted; of plotly the script is served as a file."""
SOURCE = sorted(ROOT.rglob("*.py"))


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
    assert files(part)
    for path in files(part):
        for name in imports(path):
            package, _, rest = name.partition(".")
            if package == "service" and not rest.startswith("__"):
                assert rest.split(".")[0] in MAY_USE[part], f"{path} imports {name}"


def test_no_module_needs_itself_by_way_of_others() -> None:
    names = {path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in SOURCE}
    modules = {name.removesuffix(".__init__"): path for path, name in names.items()}
    graph = {
        module: {used for name in imports(path) if (used := _module(name, modules)) != module}
        for module, path in modules.items()
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def _module(name: str, modules: Mapping[str, Path]) -> str:
    """The module of the service that a name comes from; empty where it is another's."""
    return next((m for m in (name, name.rpartition(".")[0]) if m in modules), "")


def test_every_package_that_is_imported_is_one_that_is_asked_for() -> None:
    """None stands only because another one needs it, and none is asked for without use."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {need for part in ("fit", "measure", "trace") for need in extras[part]}
    declared = {re.split(r"[^\w-]", need)[0] for need in (*project["dependencies"], *asked)}
    used = {name.split(".")[0] for path in SOURCE for name in imports(path)}
    found = {
        PACKAGES.get(name, name.replace("_", "-"))
        for name in used - sys.stdlib_module_names - {"service"}
    }
    assert found | UNIMPORTED == declared


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
