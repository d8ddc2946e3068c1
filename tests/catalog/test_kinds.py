"""What a fact may say: typed, complete, and physically possible."""

from __future__ import annotations

import math
from typing import Any

import pytest

from service.catalog.drafts import draft
from service.catalog.errors import InvalidFact
from tests.catalog.documents import PROVENANCE, accelerator, price, region


def problems(kind: str, document: dict[str, Any], name: str = "a-name") -> dict[str, str]:
    """Pointer to message, of a document that must be refused."""
    with pytest.raises(InvalidFact) as refused:
        draft(kind, name, document)
    return {problem.pointer: problem.message for problem in refused.value.problems}


@pytest.mark.parametrize(
    ("kind", "document"),
    [("accelerators", accelerator()), ("regions", region()), ("prices", price())],
)
def test_the_examples_are_valid(kind: str, document: dict[str, Any]) -> None:
    assert draft(kind, "a-name", document).kind == kind


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"memory_bytes": 0}, "/memory_bytes"),
        ({"memory_bytes": 80}, "/memory_bytes"),
        ({"memory_bandwidth_bytes_per_second": -1}, "/memory_bandwidth_bytes_per_second"),
        ({"peak_flops": {}}, "/peak_flops"),
        ({"peak_flops": {"bf16": math.nan}}, "/peak_flops/bf16"),
        ({"peak_flops": {"bf16": math.inf}}, "/peak_flops/bf16"),
        ({"tdp_watts": 0}, "/tdp_watts"),
        ({"idle_watts": 700}, ""),
        ({"devices_per_node": 0}, "/devices_per_node"),
        ({"embodied_kgco2e": {"low": 30, "central": 20, "high": 40}}, "/embodied_kgco2e"),
        ({"unheard_of": 1}, "/unheard_of"),
        ({"aliases": ["Not A Slug"]}, "/aliases/0"),
    ],
)
def test_an_impossible_accelerator_is_refused_at_its_field(
    change: dict[str, Any], pointer: str
) -> None:
    assert pointer in problems("accelerators", accelerator(**change))


@pytest.mark.parametrize(
    ("peaks", "named"),
    [
        ({"tf32": 494.5e12, "bf16": 1979e12}, "bf16"),
        ({"bf16": 989e12, "fp8": 3958e12}, "fp8"),
        ({"fp8": 1979e12, "fp4": 9e15}, "fp4"),
        ({"bf16": 989e12, "int8": 3958e12}, "int8"),
    ],
)
def test_a_rate_with_sparsity_is_not_a_dense_rate(peaks: dict[str, float], named: str) -> None:
    message = problems("accelerators", accelerator(peak_flops=peaks))[""]
    assert f"peak_flops.{named}" in message
    assert "sparsity" in message
    reason = accelerator(peak_flops=peaks, peak_exceptions={named: "the vendor says so"})
    assert draft("accelerators", "a-name", reason).payload


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"grid_gco2e_per_kwh": 5000}, "/grid_gco2e_per_kwh"),
        ({"grid_gco2e_per_kwh": 0.0}, "/grid_gco2e_per_kwh"),
        ({"grid_gco2e_per_kwh": None}, ""),
        ({"grid_year": None}, ""),
        ({"pue": 0.9}, "/pue"),
        ({"pue": 15}, "/pue"),
        ({"country": "Utopia"}, "/country"),
        ({"scope": "cloud"}, ""),
        ({"carbon_free_fraction": 98}, "/carbon_free_fraction"),
    ],
)
def test_an_impossible_place_is_refused_at_its_field(change: dict[str, Any], pointer: str) -> None:
    assert pointer in problems("regions", region(**change))


@pytest.mark.parametrize("usd", [700.0, 0.01, 0, -2, math.nan])
def test_a_placeholder_is_not_a_price(usd: float) -> None:
    assert "/usd_per_device_hour" in problems("prices", price(usd_per_device_hour=usd))


@pytest.mark.parametrize(
    ("provenance", "pointer"),
    [
        (None, "/provenance/source"),
        ({"source": "somebody"}, "/provenance/licence"),
        (PROVENANCE | {"source_date": "last year"}, "/provenance/source_date"),
        (PROVENANCE | {"source_date": "2026-13"}, "/provenance/source_date"),
        (PROVENANCE | {"valid_from": "soon"}, "/provenance/valid_from"),
        (PROVENANCE | {"author": "me"}, "/provenance/author"),
        ("somebody", "/provenance"),
    ],
)
def test_a_fact_states_its_source_date_and_licence(provenance: Any, pointer: str) -> None:
    assert pointer in problems("regions", region(provenance=provenance))


@pytest.mark.parametrize("name", ["", "H100", "a b", "../etc", "a//b", "/a", "a/", "é", "a" * 201])
def test_names_are_slugs(name: str) -> None:
    assert "/name" in problems("regions", region(), name)


def test_the_name_in_the_document_is_the_name_written_to() -> None:
    assert "/name" in problems("regions", region(name="another"))


def test_every_problem_of_a_document_is_named_at_once() -> None:
    found = problems("regions", region(pue=0.5, grid_gco2e_per_kwh=-1, provenance={}))
    assert {"/pue", "/grid_gco2e_per_kwh", "/provenance/source", "/provenance/licence"} <= set(
        found
    )


def test_a_model_is_an_architecture() -> None:
    model = {
        "title": "M",
        "family": "llama",
        "modality": "text",
        "architecture": {"kind": "huggingface", "config": {"model_type": "llama"}},
        "provenance": PROVENANCE,
    }
    assert draft("models", "m", model).payload
    for change in (
        {"architecture": {"kind": "huggingface", "config": {}}},
        {"architecture": {"kind": "size", "parameters": 7e9}},
        {"architecture": {"kind": "layers", "layers": []}},
        {"architecture": {"kind": "huggingface", "config": {"model_type": "x" * 600_000}}},
        {"architecture": {"kind": "huggingface", "config": {"model_type": "x", "a": math.nan}}},
    ):
        assert problems("models", model | change, "m")
