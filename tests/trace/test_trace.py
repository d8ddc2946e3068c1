"""Tracing counts what the real classes hold; skipped where the `trace` extra is not installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from service.core import parameters
from service.core.architecture.families import layers
from service.trace import NEEDS, TraceError, trace

TRUTH = Path(__file__).parents[1] / "data" / "truth"
MODELS = json.loads((TRUTH / "parameters.json").read_text())["models"]
HAS_EXTRA = all(importlib.util.find_spec(name) for name in NEEDS)
TINY = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 16,
}
REMOTE = {"baichuan", "internlm2", "kimi_k2", "minicpm", "qwen"}
"""Types whose classes live in repositories, whose code is never run."""
DIFFERENT = {
    # The counted class had its head apart; transformers 5.23 ties it when it reads the file.
    "flan-t5-xl",
    # The class of transformers 5.23 holds weights for experts that compute nothing.
    "longcat-flash-default",
}
traced = pytest.mark.skipif(not HAS_EXTRA, reason="torch and transformers are not installed")


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TRUTH / "configs" / f"{name}.json").read_text())
    return found | {"architectures": [MODELS[name]["architecture_class"]]}


@pytest.mark.skipif(HAS_EXTRA, reason="torch and transformers are installed")
def test_without_the_extra_the_error_says_what_to_install() -> None:
    with pytest.raises(TraceError, match="model-sizing"):
        trace(TINY)


@traced
def test_document_of_a_real_class_builds_its_network() -> None:
    document = trace(TINY)
    counts = parameters.count(layers.build(document["layers"]))
    layer = 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 4 * 32
    head = 32 * 32 + 32 + 2 * 32 + 100
    assert counts.total == (100 + 16 + 2) * 32 + 64 + 3 * layer + head
    assert counts.total == document["parameters"]
    assert layers.build(document["layers"]).layers == 3


@traced
def test_unknown_type_is_named() -> None:
    with pytest.raises(TraceError, match="mystery"):
        trace({"model_type": "mystery"})


@traced
def test_child_is_stopped_when_its_time_is_up() -> None:
    with pytest.raises(TraceError, match="longer than"):
        trace(TINY, timeout_seconds=0.05)


@traced
def test_child_is_held_to_its_memory() -> None:
    with pytest.raises(TraceError):
        trace(TINY, memory_bytes=64 * 2**20)


@traced
@pytest.mark.parametrize(
    "name",
    sorted(
        n for n, row in MODELS.items() if row["model_type"] not in REMOTE and n not in DIFFERENT
    ),
)
def test_traced_count_is_that_of_the_real_class(name: str) -> None:
    from service.trace import child

    document = json.loads(json.dumps(child.document(config(name))))
    counts = parameters.count(layers.build(document["layers"]))
    assert counts.total == MODELS[name]["total"]
    assert counts.untied == MODELS[name]["untied"]
