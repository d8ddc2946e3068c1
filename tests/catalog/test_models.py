"""Each reference model is an architecture that counts to what its source states."""

from __future__ import annotations

from typing import Any

import pytest

from service.catalog import seeds
from service.catalog.errors import InvalidFact
from service.catalog.kinds import ModelFacts
from service.catalog.networks import network
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store
from service.core import compute
from service.core.parameters import count
from tests.catalog.documents import PROVENANCE

NAMES = [item.name for item in seeds.drafts() if item.kind == "models"]


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_model_counts_to_its_sources_figure(seeded: Snapshot, name: str) -> None:
    facts = seeded.get("models", name).payload
    assert isinstance(facts, ModelFacts)
    expected = facts.expected_parameters
    assert expected is not None
    counted = count(network(seeded.get("models", name)))
    assert counted.total == pytest.approx(expected.total, rel=expected.tolerance, abs=0)
    if expected.active is not None:
        assert counted.active == pytest.approx(expected.active, rel=1e-9)


def test_inception_v3_does_the_work_that_torchvision_states(seeded: Snapshot) -> None:
    """5.71 billion multiply-adds an image of 299 x 299 (torchvision's table of models)."""
    flops = compute.table(network(seeded.get("models", "inception-v3"))).forward(1.0)
    assert flops == pytest.approx(2 * 5.71e9, rel=2e-3)


@pytest.mark.parametrize(
    ("architecture", "pointer"),
    [
        ({"kind": "huggingface", "config": {"model_type": "unheard-of"}}, "config/model_type"),
        (
            {"kind": "huggingface", "config": {"model_type": "llama", "hidden_size": -1}},
            "config/hidden_size",
        ),
        ({"kind": "layers", "layers": [{"type": "linear", "inputs": 3}]}, "layers/0/outputs"),
    ],
)
def test_a_model_that_the_core_cannot_build_is_not_written(
    store: Store, architecture: dict[str, Any], pointer: str
) -> None:
    document = {"title": "M", "family": "m", "modality": "text", "provenance": PROVENANCE}
    with pytest.raises(InvalidFact) as refused:
        store.put("models", "m", document | {"architecture": architecture})
    assert refused.value.problems[0].pointer == f"/architecture/{pointer}"


def test_a_stated_count_that_the_architecture_contradicts_is_not_written(store: Store) -> None:
    document = {
        "title": "M",
        "family": "mlp",
        "modality": "other",
        "architecture": {
            "kind": "layers",
            "layers": [{"type": "linear", "inputs": 10, "outputs": 10}],
        },
        "expected_parameters": {"total": 100, "source": "a guess"},
        "provenance": PROVENANCE,
    }
    with pytest.raises(InvalidFact, match="counts to 110"):
        store.put("models", "m", document)
    document["expected_parameters"] = {"total": 110, "source": "arithmetic"}
    assert store.put("models", "m", document).version == 1
