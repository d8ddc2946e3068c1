"""The command line as a user runs it: a process, its output and its exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.progress import bar

TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}
TOO_LARGE = {
    "model": {"kind": "catalog", "name": "llama-3.1-70b"},
    "workload": {"kind": "pretraining"},
    "hardware": {"accelerator": "h100-sxm", "count": 8},
}


def run(folder: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    database = f"sqlite:///{folder / 'catalog.db'}"
    environment = os.environ | {"MODEL_SIZING_DATABASE_URL": database}
    command = [sys.executable, "-m", "service", *words]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=120, env=environment
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


def test_a_config_on_standard_input_is_estimated_and_fits(folder: Path) -> None:
    done = run(folder, "estimate", "-", "--json", text=json.dumps(TINY))
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"]["admission"] == "fits"


def test_lines_for_people_show_the_interval(folder: Path) -> None:
    done = run(folder, "estimate", "-", text=json.dumps(TINY))
    line = next(x for x in done.stdout.splitlines() if x.startswith("memory.peak_bytes"))
    assert " to " in line


def test_a_job_that_does_not_fit_exits_with_4(folder: Path) -> None:
    done = run(folder, "estimate", "-", "--json", text=json.dumps(TOO_LARGE))
    assert done.returncode == 4
    assert json.loads(done.stdout)["verdict"]["smallest_changes"]


def test_a_wrong_request_exits_with_2_and_prints_the_problem(folder: Path) -> None:
    done = run(folder, "estimate", "-", text=json.dumps({"model": {"kind": "catalog"}}))
    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["pointer"] == "/model/name"


def test_a_server_is_asked_by_its_address(folder: Path, server_url: str) -> None:
    words = ("parameters", "-", "--json", "--server", server_url)
    here = run(folder, "parameters", "-", "--json", text=json.dumps(TINY))
    there = run(folder, *words, text=json.dumps(TINY))
    assert json.loads(there.stdout)["parameters"] == json.loads(here.stdout)["parameters"]


def test_prices_go_out_and_come_in_again(folder: Path, tmp_path: Path) -> None:
    exported = run(folder, "export", "prices")
    assert exported.returncode == 0
    path = tmp_path / "prices.csv"
    path.write_text(exported.stdout)
    dry = run(folder, "import", "prices", str(path), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    path.write_text(exported.stdout.replace("2026", "-5", 1) + "broken\n")
    assert run(folder, "import", "prices", str(path)).returncode == 2


def test_tracing_without_the_extra_says_what_is_missing(folder: Path) -> None:
    done = run(folder, "trace", "-", text=json.dumps(TINY))
    try:
        import torch  # noqa: F401
    except ImportError:
        assert done.returncode == 1
        assert "torch" in done.stderr
    else:
        assert json.loads(done.stdout)["kind"] == "layers"


def test_help_lists_every_verb(folder: Path) -> None:
    text = run(folder, "--help").stdout
    verbs = ("serve", "migrate", "estimate", "parameters", "compute-optimal", "layouts", "sweep")
    assert all(verb in text for verb in (*verbs, "import", "export", "trace", "calibrate"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        draw = bar("rows", stream)
        draw(500, 1_000)
        draw(1_000, 1_000)
    half, whole = terminal.getvalue().removeprefix("\r").split("\r")
    assert half == f"rows [{'#' * 15}{' ' * 15}] 500 of 1,000"
    assert whole == f"rows [{'#' * 30}] 1,000 of 1,000\n"
    assert file.getvalue() == ""


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    words = f"{sys.executable} -m service openapi | head -c 10"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False)
    assert (len(done.stdout), done.stderr) == (10, "")
