"""Tracing an architecture that no family describes: the real class, instantiated without weights.

`trace` runs `service.trace.child` in a process of its own, with limits on time and memory. It
needs the `trace` extra (torch and transformers), which the serving process never imports. No code
of a repository is run: only classes that the installed transformers ships.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

NEEDS = ("torch", "transformers")
TIMEOUT_SECONDS = 120.0
MEMORY_BYTES = 8 * 2**30


class TraceError(RuntimeError):
    """The architecture could not be traced; the message says why."""


def trace(
    config: Mapping[str, Any],
    timeout_seconds: float = TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, Any]:
    """`{"kind": "layers", "layers": [...], "notes": [...], "parameters": n}` of a config.json."""
    if any(importlib.util.find_spec(name) is None for name in NEEDS):
        raise TraceError("tracing needs torch and transformers: pip install 'model-sizing[trace]'")
    command = [sys.executable, "-m", "service.trace.child"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(config),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            preexec_fn=_limited(memory_bytes),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TraceError(f"tracing took longer than {timeout_seconds:g} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        raise TraceError(f"tracing failed: {last[0][:500]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _limited(memory_bytes: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))

    return limit
