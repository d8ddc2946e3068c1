"""Hostile bodies: never a 5xx, never a number that is none, always a problem of the one shape."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.secrets import ADMIN
from tests.api.test_estimate import FULL, LLAMA

SWEEP = {
    "base": FULL,
    "axes": {"/hardware/count": [512, 1024], "/workload/tokens": [1e12, 2e12]},
    "columns": ["/cost/usd/value", "/verdict/admission"],
}
OPTIMAL = {
    "budget": {"kind": "usd", "value": 1e6, "accelerator": "h100-sxm", "utilization": 0.4},
    "law": "besiroglu-2024",
    "unique_tokens": 1e12,
    "inference_tokens": 1e12,
}
CONFIG = {"model": {"kind": "huggingface", "config": LLAMA}}
SERVING = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "inference", "prompt_tokens": 100, "concurrency": 4, "weights": "nf4"},
}
TUNING = {
    "model": {"kind": "catalog", "name": "gpt-2"},
    "workload": {"kind": "finetuning", "method": "lora", "rank": 8, "tokens": 1e6},
}
LAYERS = {
    "model": {
        "kind": "layers",
        "layers": [
            {"type": "input", "size": [8, 8]},
            {"type": "convolution", "inputs": 3, "outputs": 8, "kernel": 3},
            {"type": "flatten"},
            {"type": "linear", "inputs": 8, "outputs": 10, "repeat": 2},
        ],
    }
}
CASES = [
    ("/estimate", FULL),
    ("/estimate", CONFIG),
    ("/estimate", SERVING),
    ("/estimate", TUNING),
    ("/estimate", LAYERS),
    ("/sweep", SWEEP),
    ("/compute-optimal", OPTIMAL),
    ("/estimate/batch", {"requests": [FULL, CONFIG]}),
    ("/layouts", {"request": TUNING, "devices": [8, 16], "caps": {"usd": 1e9, "devices": 32}}),
    ("/claims/check", {"model": "gpt-2", "parameters": 10**9, "device_hours": 3, "devices": 8}),
]

hostile = st.one_of(
    st.sampled_from(
        [
            None, True, False, 0, -1, 1, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"),
            float("-inf"), 10**30, -(10**30), 2**63, "", "NaN", "\ud800", "../../etc/passwd",
            "' OR 1=1 --", "h100-sxm", [], {}, [[]], {"kind": "size"}, [None], "x" * 5_000,
        ]
    ),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
)  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every node of a body is."""
    found = [here] if here else []
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            found += paths(child, (*here, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another node at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, Any]:
    """A good request with one to three of its nodes replaced by something hostile."""
    endpoint, body = draw(st.sampled_from(CASES))
    for _ in range(draw(st.integers(1, 3))):
        places = paths(body)
        if places:
            body = changed(body, draw(st.sampled_from(places)), draw(hostile))
    return endpoint, body


def no_constant(name: str) -> Any:
    raise AssertionError(f"the answer holds {name}")


def survives(client: httpx.Client, endpoint: str, body: Any) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(endpoint, content=json.dumps(body), headers=headers)
    assert answer.status_code < 500, (endpoint, body, answer.text)
    document = json.loads(answer.text, parse_constant=no_constant)
    if answer.status_code != 200:
        assert document["type"].startswith("/problems/")
        assert document["detail"]


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=bodies())
def test_hostile_bodies_get_an_answer_or_a_problem(
    client: httpx.Client, case: tuple[str, Any]
) -> None:
    survives(client, *case)


@pytest.mark.soak
@settings(
    max_examples=50_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=bodies())
def test_many_hostile_bodies_get_an_answer_or_a_problem(
    client: httpx.Client, case: tuple[str, Any]
) -> None:
    survives(client, *case)


def schemathesis(url: str, *options: str) -> None:
    """Every operation against its schema, with a key, in a process of its own."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{url}/openapi.json",
        f"--header=Authorization: Bearer {ADMIN}",
        "--checks=all",
        "--exclude-checks=positive_data_acceptance",
        "--no-color",
        *options,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4_000:] + result.stderr[-1_000:]
    print(result.stdout[-600:])  # how many cases there were


def test_every_operation_keeps_its_schema(keyed_url: str) -> None:
    schemathesis(keyed_url, "--phases=examples,fuzzing", "--max-examples=4", "--seed=1")


@pytest.mark.soak
def test_every_operation_keeps_its_schema_over_many_cases(keyed_url: str) -> None:
    schemathesis(keyed_url, "--max-examples=250")
