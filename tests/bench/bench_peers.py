"""Beside what a user would pick instead, in the same run on the same model.

`make peers` installs them, each in an environment of its own; one that is not there is left out.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.bench_core import first_sight, one_estimate, row_seconds
from tests.bench.figures import Figure, cpu_seconds

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "peers"
TURNS = 5


def run() -> Iterator[Figure]:
    """How many times our CPU seconds theirs are."""
    yield Figure(
        "plain formulas, the floor: an estimate", cpu_seconds(_formulas, 10_000) * 1e6, "us"
    )
    yield from _beside_llm_analysis()
    peer = _measured("accelerate", "accelerate_peer.py")
    if peer:
        yield Figure("accelerate: memory of a model", peer["estimate"] * 1e3, "ms")
        faster = peer["estimate"] / first_sight()
        yield Figure("first sight of a config, against accelerate", faster, "times faster")


def _beside_llm_analysis() -> Iterator[Figure]:
    """In turns, and the median of their ratios: a machine that slows down does so for both."""
    turns = []
    for _ in range(TURNS):
        peer = _measured("llm_analysis", "llm_analysis_peer.py")
        if not peer:
            return
        turns.append((peer["estimate"], peer["muted"], peer["row"], one_estimate(), row_seconds()))
    logged, muted, row = (median(turn[of] for turn in turns) for of in range(3))
    yield Figure("llm-analysis: a training estimate", logged * 1e6, "us")
    yield Figure("llm-analysis: the same with its summary muted", muted * 1e6, "us")
    yield Figure("llm-analysis: a row of a layout sweep", row * 1e6, "us")
    against = "one full estimate, against llm-analysis"
    faster = median(theirs / ours for theirs, _, _, ours, _ in turns)
    yield Figure(against, faster, "times faster", "at least 5")
    faster = median(theirs / ours for _, theirs, _, ours, _ in turns)
    yield Figure(f"{against} with its summary muted", faster, "times faster")
    faster = median(theirs / ours for _, _, theirs, _, ours in turns)
    yield Figure("a row of a sweep, against llm-analysis", faster, "times faster", "at least 1,000")


def _measured(name: str, script: str) -> dict[str, float]:
    python = ROOT / ".venv" / "peers" / name / "bin" / "python"
    if not python.exists():
        print(f"  {name} is not installed: run `make peers`")
        return {}
    output = subprocess.run(
        [python, SCRIPTS / script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def _formulas() -> dict[str, float]:
    """What scripts have: 6 N D, 18 bytes a parameter, a typed-in utilisation and price."""
    parameters, tokens, devices = 8.03e9, 1e12, 64
    flops = 6.0 * parameters * tokens
    memory = 18.0 * parameters / devices + 34.0 * 8192 * 4096 * 32
    hours = flops / (989.4e12 * 0.4) / 3600.0
    kwh = hours * 0.7 * 1.2
    return {
        "flops": flops,
        "memory": memory,
        "hours": hours,
        "usd": hours * 2.5,
        "kgco2e": kwh * 0.4,
        "ratio": tokens / parameters / 20.0,
    }
