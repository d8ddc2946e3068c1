"""The shipped facts: complete, sourced, free of the faults that public data is known for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.catalog.facts import Fact
from service.catalog.hardware import accelerator
from service.catalog.snapshot import Snapshot


def payload(seeded: Snapshot, kind: str, name: str) -> Any:
    return seeded.get(kind, name).payload


def test_every_fact_states_its_source_and_licence(seeded: Snapshot) -> None:
    for kind in seeded.shelves:
        facts = list(seeded.facts(kind))
        assert facts, kind
        for fact in facts:
            assert len(fact.provenance.source) > 8, fact.name
            assert fact.provenance.licence, fact.name
            assert fact.provenance.source_date or fact.provenance.note or kind != "prices"


def test_nothing_ships_that_its_licence_does_not_clearly_allow(seeded: Snapshot) -> None:
    for fact in seeded.facts("regions"):
        assert fact.payload.marginal_gco2e_per_kwh is None, fact.name
        assert "electricity maps" not in fact.provenance.source.lower()
    for kind in seeded.shelves:
        for fact in seeded.facts(kind):
            assert "AGPL" not in fact.provenance.licence, fact.name
    for fact in seeded.facts("prices"):
        assert re.match("list price|Amazon EC2", fact.provenance.source), fact.name
        assert "vantage" not in fact.provenance.source.lower(), fact.name


def test_prices_are_of_every_term_that_the_clouds_publish(seeded: Snapshot) -> None:
    terms = {(f.payload.provider, f.payload.term) for f in seeded.facts("prices")}
    assert {(cloud, "on-demand") for cloud in ("aws", "azure", "gcp", "oci")} <= terms
    assert {("aws", "reserved"), ("aws", "spot"), ("azure", "spot")} <= terms


def test_an_azure_instance_of_eight_h100_is_not_twelve(seeded: Snapshot) -> None:
    price = payload(seeded, "prices", "azure/nd96isr-h100-v5/eastus/on-demand")
    assert (price.accelerator_count, price.usd_per_device_hour) == (8, 12.29)
    assert seeded.find("prices", "azure/nd96isr-h100-v5/eastus/spot") is None


def test_every_reference_system_of_our_users_reading_is_there(seeded: Snapshot) -> None:
    wanted = """resnet-18 resnet-50 resnet-101 resnet-152 bert-base distilbert tinybert gpt-3-175b
        megatron-lm-8.3b llama-7b llama-13b llama-33b llama-65b llama-2-7b llama-2-13b llama-2-70b
        llama-3-8b llama-3-70b llama-3.1-8b llama-3.1-70b llama-3.1-405b mistral-7b
        mistral-nemo-12b mixtral-8x7b deepseek-v3 qwen3-0.6b qwen3-8b qwen3-32b qwen3-235b-a22b
        gpt-2 gpt-2-xl t5-base vit-base whisper-small inception-v3 transformer-xl gopher-280b
        chinchilla-70b mlp-3x1000"""
    for name in wanted.split():
        assert seeded.get("models", name).name == name


def test_prices_stand_for_known_accelerators_and_places(seeded: Snapshot) -> None:
    for fact in seeded.facts("prices"):
        assert fact.payload.accelerator in seeded.shelves["accelerators"].rows
        if fact.payload.region:
            assert fact.payload.region in seeded.shelves["regions"].rows, fact.name


def test_stand_ins_name_a_place_with_the_same_figure(seeded: Snapshot) -> None:
    for fact in seeded.facts("regions"):
        if fact.payload.grid_from:
            origin = payload(seeded, "regions", fact.payload.grid_from)
            assert origin.grid_gco2e_per_kwh == fact.payload.grid_gco2e_per_kwh, fact.name
            assert fact.payload.grid_quality in ("subnational", "country")
        elif fact.payload.scope == "cloud":
            assert fact.payload.grid_quality == "grid-zone", fact.name


def test_each_assumed_figure_of_an_accelerator_says_why(seeded: Snapshot) -> None:
    for fact in seeded.facts("accelerators"):
        fields = type(fact.payload).model_fields
        assert set(fact.payload.assumed) <= set(fields)
        assert {"scale_out_bandwidth_bytes_per_second", "embodied_kgco2e"} <= set(
            fact.payload.assumed
        )


# The known faults of public data, one test each.


def test_the_llama_3_3_card_is_marked_as_an_anomaly(seeded: Snapshot) -> None:
    for fact in seeded.facts("reports"):
        report = fact.payload
        if report.device_hours and report.location_kgco2e and report.energy_kwh:
            implied = 1000 * report.location_kgco2e / report.energy_kwh
            assert bool(report.anomaly) == (implied < 5), fact.name
    assert payload(seeded, "reports", "carbon/llama-3.3-70b-anomaly").anomaly


def test_the_llama_2_family_has_the_row_that_its_card_leaves_out(seeded: Snapshot) -> None:
    row = payload(seeded, "reports", "carbon/llama-2-34b-unreleased")
    assert row.device_hours == 1_038_336


def test_azure_west_us_is_in_california(seeded: Snapshot) -> None:
    california = payload(seeded, "regions", "zone/us-ca").grid_gco2e_per_kwh
    washington = payload(seeded, "regions", "zone/us-wa").grid_gco2e_per_kwh
    west = payload(seeded, "regions", "azure/westus")
    assert west.grid_gco2e_per_kwh == california != washington
    assert west.grid_gco2e_per_kwh == payload(seeded, "regions", "aws/us-west-1").grid_gco2e_per_kwh


def test_azure_north_europe_is_ireland_and_there_once(seeded: Snapshot) -> None:
    named = [fact for fact in seeded.facts("regions") if "northeurope" in fact.name]
    assert [fact.payload.country for fact in named] == ["IE"]


@pytest.mark.parametrize(
    ("name", "memory_gib", "bandwidth", "watts", "bf16"),
    [
        ("b200", 180, 8e12, 1000, 2250e12),
        ("mi300a", 128, 5.3e12, 550, 980.6e12),
        ("mi325x", 256, 6e12, 1000, 1307e12),
        ("mi300x", 192, 5.3e12, 750, 1307e12),
        ("l40s", 45, 864e9, 350, 362e12),
        ("a10g", 22.5, 600e9, 300, 70e12),
        ("h100-sxm", 80, 3.35e12, 700, 989e12),
        ("a100-sxm4-80gb", 80, 2.039e12, 400, 312e12),
    ],
)
def test_packages_are_whole_and_rates_are_dense_tensor_rates(
    seeded: Snapshot, name: str, memory_gib: float, bandwidth: float, watts: float, bf16: float
) -> None:
    found = payload(seeded, "accelerators", name)
    assert found.memory_bytes == memory_gib * 2**30
    assert found.memory_bandwidth_bytes_per_second == bandwidth
    assert found.tdp_watts == watts
    assert found.peak_flops["bf16"] == found.peak_flops["fp16"] == bf16


def test_b200_is_two_dies(seeded: Snapshot) -> None:
    assert payload(seeded, "accelerators", "b200").dies == 2


def test_the_v100_cards_are_not_swapped(seeded: Snapshot) -> None:
    assert payload(seeded, "accelerators", "v100-pcie-16gb").tdp_watts == 250
    assert payload(seeded, "accelerators", "v100-sxm2-16gb").tdp_watts == 300


def test_no_price_is_a_placeholder_or_for_the_host_alone(seeded: Snapshot) -> None:
    tpu = [f.payload for f in seeded.facts("prices") if f.payload.accelerator == "tpu-v6e"]
    assert len(tpu) == 10
    assert all(0.3 < price.usd_per_device_hour < 4 for price in tpu)
    for fact in seeded.facts("prices"):
        name, price = fact.name, fact.payload
        host_only = price.provider == "gcp" and not price.accelerator.startswith("tpu")
        assert not host_only, name
        if price.term == "on-demand" and price.accelerator in ("h100-sxm", "h200-sxm", "b200"):
            assert price.usd_per_device_hour > 1.5, name


def test_a_slice_of_tpu_v5p_is_priced_by_chip_and_not_by_core(seeded: Snapshot) -> None:
    price = payload(seeded, "prices", "gcp/tpu-v5p-11776/us-east5/on-demand")
    assert (price.accelerator_count, price.usd_per_device_hour) == (5888, 4.2)


def test_no_provider_sells_spot_at_the_on_demand_price_everywhere(seeded: Snapshot) -> None:
    assert not [f for f in seeded.facts("prices") if re.match("runpod/.*/spot", f.name)]


def test_blackwell_ultra_has_no_fast_int8_and_its_conflicts_are_noted(seeded: Snapshot) -> None:
    for name in ("b300", "gb300"):
        fact = seeded.get("accelerators", name)
        assert fact.payload.peak_flops["int8"] < fact.payload.peak_flops["fp8"] / 10
        assert "int8" in fact.provenance.note
    assert "power 1000 W" in seeded.get("accelerators", "b300").provenance.note


def test_whether_published_energy_holds_the_pue_is_stated(seeded: Snapshot) -> None:
    """Patterson's and the LLaMA paper's MWh hold it: times the grid they are the tonnes."""
    holding = [f for f in seeded.facts("reports") if f.payload.energy_includes_pue]
    assert len(holding) >= 4
    for fact in holding:
        report = fact.payload
        if None not in (report.energy_kwh, report.grid_gco2e_per_kwh, report.location_kgco2e):
            arithmetic = report.energy_kwh * report.grid_gco2e_per_kwh / 1000
            assert arithmetic == pytest.approx(report.location_kgco2e, rel=0.02), fact.name
    starcoder = payload(seeded, "reports", "carbon/starcoderbase-15.5b")
    assert starcoder.energy_includes_pue is False
    with_pue = starcoder.energy_kwh * starcoder.pue * starcoder.grid_gco2e_per_kwh / 1000
    assert with_pue == pytest.approx(starcoder.location_kgco2e, rel=0.02)


def test_an_all_zero_grid_is_a_gap_and_not_a_grid(seeded: Snapshot) -> None:
    assert seeded.find("regions", "country/cf") is None
    for fact in seeded.facts("regions"):
        grid = fact.payload.grid_gco2e_per_kwh
        assert grid is None or grid >= 1, fact.name


def test_every_accelerator_becomes_one_that_the_core_can_calculate_with(seeded: Snapshot) -> None:
    for fact in seeded.facts("accelerators"):
        made = accelerator(fact)
        device = made.device("bf16")
        low, central, high = made.embodied_kgco2e
        assert device.peak_flops > 0, fact.name
        assert 0 < made.idle_watts < made.tdp_watts
        assert 0 < low <= central <= high
    made = accelerator(seeded.get("accelerators", "h100-sxm"))
    assert made.embodied_kgco2e[1] == pytest.approx(164, rel=0.01)
    assert made.peak_for("fp8") == 1979e12
    assert accelerator(seeded.get("accelerators", "v100")).peak_for("bf16") == 125e12


def test_recalled_figures_carry_that_mark(seeded: Snapshot) -> None:
    marks: dict[str, list[Fact]] = {"read": [], "recalled": []}
    for fact in seeded.facts("reports"):
        marks[fact.payload.evidence].append(fact)
    assert len(marks["read"]) >= 20
    assert len(marks["recalled"]) >= 10
