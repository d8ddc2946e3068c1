"""Measuring: its requests are answered, its runs are posted and count, its steps are real."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from service.cli.measuring import _here, _server
from service.measure import (
    Ask,
    AskError,
    Case,
    MeasureError,
    Observation,
    Setup,
    cases,
    compared,
    config_of,
    observed,
    submission,
)
from service.measure.comparing import post
from service.measure.steps import NEEDS
from service.settings import Settings

SETUP = Setup("t4", models=("gpt-2",), sequence_length=64, steps=2)
TRAINING, DECODING = cases(SETUP)
SEEN = Observation(0.5, 3e9, 2e9, 2.5e9, 61.0, "a card, torch 2.13")
HAS_EXTRA = all(importlib.util.find_spec(name) for name in NEEDS)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return _here(Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('m') / 'catalog.db'}"))


def process(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, sys; task = json.load(sys.stdin); {script}")


def test_each_model_trains_and_decodes() -> None:
    found = [(case.model, case.activity) for case in cases(Setup("t4"))]
    assert len(found) == len(set(found)) == 6
    assert ("pythia-70m", "training") in found


def test_the_task_reaches_the_measuring_process_and_its_figures_come_back() -> None:
    script = f"print(json.dumps({asdict(SEEN)!r} | {{'step_seconds': task['steps']}}))"
    task = TRAINING.task({"model_type": "gpt2"})
    assert observed(task, command=process(script)).step_seconds == SETUP.steps


@pytest.mark.parametrize(
    ("script", "said"),
    [("raise SystemExit('no memory left')", "no memory left"), ("sys.exit(1)", "printed nothing")],
)
def test_a_measuring_process_that_fails_is_told(script: str, said: str) -> None:
    with pytest.raises(MeasureError, match=said):
        observed({}, command=process(script))


def test_a_measuring_process_that_hangs_is_ended() -> None:
    with pytest.raises(MeasureError, match="longer than"):
        observed({}, 0.2, process("import time; time.sleep(60)"))


@pytest.mark.parametrize("case", [TRAINING, DECODING], ids=lambda case: case.activity)
def test_what_was_measured_stands_beside_the_estimate_and_is_posted(here: Ask, case: Case) -> None:
    before = compared(here, case, SEEN, None)
    assert [row.measured for row in before] == [0.5, 3e9]
    assert all(0 < row.low <= row.value <= row.high for row in before)
    assert "gpt-2" in before[0].line()
    name = post(here, submission(case, SEEN, "lab", "20260101-000000"))
    _, run = here("GET", f"/runs/{name}", None)
    assert run["provenance"]["source"].endswith("a card, torch 2.13; the board drew 61 W")
    after = compared(here, case, SEEN, "lab")
    moved = [new.value != old.value for new, old in zip(after, before, strict=True)]
    assert moved == [case.activity == "training"] * 2


def test_a_processor_without_memory_figures_posts_only_its_speed() -> None:
    found = Observation(0.5, None, None, None, None, "a processor")
    run = submission(DECODING, found, "lab", "now")
    assert run["observed"] == {"tokens_per_second": SETUP.batch_size / 0.5}


def test_a_name_that_the_catalog_lacks_is_told_with_what_comes_near(here: Ask) -> None:
    with pytest.raises(AskError, match="t4"):
        compared(here, Case("gpt-2", "training", Setup("t44")), SEEN, None)
    with pytest.raises(AskError, match="has no config"):
        config_of(here, "mlp-3x1000")


def test_a_server_is_asked_as_this_process_is(here: Ask, server_url: str) -> None:
    assert config_of(_server(server_url), "gpt-2") == config_of(here, "gpt-2")


@pytest.mark.skipif(HAS_EXTRA, reason="the measure extra is installed")
def test_without_the_extra_it_says_what_to_install() -> None:
    with pytest.raises(MeasureError, match=r"model-sizing\[measure\]"):
        observed(TRAINING.task({}))


TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}


@pytest.mark.skipif(not HAS_EXTRA, reason="torch and transformers are not installed")
@pytest.mark.parametrize("case", [TRAINING, DECODING], ids=lambda case: case.activity)
def test_real_steps_run_on_this_processor(case: Case) -> None:
    found = observed(case.task(TINY))
    assert found.step_seconds > 0
    assert "torch" in found.device
    if Path("/proc/self/status").exists():
        assert found.peak_bytes


def test_the_measuring_process_is_never_imported_by_the_server() -> None:
    script = "import service.api.app, service.web.pages, service.cli, sys, json; "
    script += "print(json.dumps([n for n in sys.modules if n in ('torch', 'transformers')]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert json.loads(done.stdout) == []
