"""Exact or refused: every configuration of the truth, on the real implementation's counts."""

import json
from pathlib import Path

import pytest

from service.core import memory, parameters
from service.core.architecture.families import registry
from service.core.architecture.families.config import UnknownArchitecture
from service.core.parallelism import Kernels

TRUTH = Path(__file__).parents[2] / "data" / "truth"
MODELS = json.loads((TRUTH / "parameters.json").read_text())["models"]
COVERED = {row["model_type"] for row in MODELS.values()} & set(registry.builders())


def config(name):
    return json.loads((TRUTH / "configs" / f"{name}.json").read_text())


def names(covered):
    return sorted(name for name, row in MODELS.items() if (row["model_type"] in COVERED) == covered)


@pytest.mark.parametrize("name", names(covered=True))
def test_counts_of_a_covered_type_are_exact(name):
    expected = MODELS[name]
    network = registry.build(config(name))
    counts = parameters.count(network)
    assert counts.total == expected["total"]
    assert counts.untied == expected["untied"]
    assert counts.active == expected["active"]
    # Of an image tower the real class names the patch projection its input embedding.
    if expected["embedding"] is not None and network.tokens:
        assert counts.embedding == expected["embedding"]


@pytest.mark.parametrize("name", names(covered=False))
def test_a_type_without_a_family_is_refused_by_name(name):
    with pytest.raises(UnknownArchitecture, match=MODELS[name]["model_type"]) as refused:
        registry.build(config(name))
    assert refused.value.field == "model_type"


def test_at_least_a_hundred_types_of_the_truth_are_covered():
    assert len(COVERED) >= 100


def perturbed():
    rows = [json.loads(line) for line in (TRUTH / "perturbed.jsonl").read_text().splitlines()]
    found = {}
    for row in rows:
        found.setdefault(row["config"]["model_type"], []).append(row)
    return found


@pytest.mark.parametrize(("model_type", "rows"), sorted(perturbed().items()))
def test_counts_stay_exact_where_sizes_are_drawn_at_random(model_type, rows):
    assert len(rows) >= 4
    for row in rows:
        counts = parameters.count(registry.build(row["config"]))
        assert counts.total == row["total"], row["config"]
        assert counts.untied == row["untied"], row["config"]
        assert counts.embedding == row["embedding"], row["config"]
        assert counts.active == pytest.approx(row["active"], abs=1e-3), row["config"]


@pytest.mark.parametrize("name", names(covered=True))
def test_layers_and_components_add_up_to_the_total(name):
    network = registry.build(config(name))
    counts = parameters.count(network)
    assert sum(counts.by_component.values()) == counts.total
    weights = memory.tables(network, Kernels(precision="fp32")).states.weights
    held = weights.tensor + weights.key_value + weights.whole + weights.expert
    assert held == 4 * counts.total
