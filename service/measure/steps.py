"""One case in a process of its own: peaks start at zero, and torch stays out of this one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEEDS = ("torch", "transformers")
CHILD = (sys.executable, "-m", "service.measure.child")
TIMEOUT_SECONDS = 900.0


class MeasureError(RuntimeError):
    """The steps could not be run; the message says why."""


@dataclass(frozen=True)
class Observation:
    """What a case took."""

    step_seconds: float
    """Median of the timed steps: an optimizer step, or one token of each sequence."""
    peak_bytes: float | None
    """Of the device, its context included; on a CPU, growth of the resident set."""
    allocated_bytes: float | None
    """Peak of the tensors alone; None on a CPU."""
    reserved_bytes: float | None
    """Peak of what torch's allocator held; None on a CPU."""
    watts: float | None
    """Mean draw of the board while it trains, by NVML; None where there is none."""
    device: str
    """The device by its own name, and torch's version."""


def observed(
    task: Mapping[str, Any],
    timeout_seconds: float = TIMEOUT_SECONDS,
    command: Sequence[str] = CHILD,
) -> Observation:
    """Run a task of `Case.task`. Raises MeasureError."""
    if command is CHILD and any(importlib.util.find_spec(name) is None for name in NEEDS):
        raise MeasureError(
            "measuring needs torch and transformers: pip install 'model-sizing[measure]'"
        )
    try:
        done = subprocess.run(
            command,
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasureError(f"the steps took longer than {timeout_seconds:g} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        raise MeasureError(f"the steps failed: {last[0][:500]}")
    return Observation(**json.loads(done.stdout))
