"""Money and carbon of an answer: every figure with its source, its method and its limits."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.secrets import ADMIN, WRITE, bearer

JOB = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "pretraining", "tokens": 1e10},
    "hardware": {"accelerator": "h100-sxm", "count": 64},
}
OWNED = {
    "purchase_usd": 40_000,
    "lifetime_years": 4,
    "utilization": 0.7,
    "usd_per_kwh": 0.12,
    "staff_share": 0.1,
}


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    response = client.post("/estimate", json=JOB | more)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def codes(answer: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in answer["warnings"]}


def test_a_price_states_its_source_date_age_and_currency(client: httpx.Client) -> None:
    answer = ask(client, pricing={"provider": "aws", "region": "aws/us-east-2", "term": "reserved"})
    cost = answer["cost"]
    assert (cost["currency"], cost["usd_per_device_hour"]) == ("USD", 4.916)
    assert "Capacity Blocks" in cost["price"]["source"]
    assert cost["price"]["source_date"] == "2024"
    assert cost["price"]["age_days"] > 90
    assert cost["price"]["stale"]
    assert "price-stale" in codes(answer)


def test_a_price_of_ones_own_is_neither_old_nor_anybodys(client: httpx.Client) -> None:
    answer = ask(client, pricing={"usd_per_device_hour": 2.5})
    assert answer["cost"]["price"]["source"] == "the request"
    assert not answer["cost"]["price"]["stale"]
    assert codes(answer) == {"not-asked"}


def test_the_price_is_that_of_the_jobs_own_region(client: httpx.Client) -> None:
    here = ask(client, site={"region": "nebius/eu-north1"})
    assert here["cost"]["usd_per_device_hour"] == 2.95
    assert "price-elsewhere" not in codes(here)
    elsewhere = ask(client, site={"region": "gcp/us-central1"})
    assert elsewhere["cost"]["price"]["prices"] > 10
    assert "price-elsewhere" in codes(elsewhere)


def test_owned_hardware_stands_beside_the_rented(client: httpx.Client) -> None:
    cost = ask(client, pricing={"usd_per_device_hour": 3.0, "owned": OWNED})["cost"]
    owned = cost["owned"]
    fixed = (40_000 / 4 + 0.1 * 40_000) / (8_766 * 0.7)
    assert fixed < owned["usd_per_device_hour"] < fixed + 0.4
    ratio = owned["usd"]["value"] / cost["usd"]["value"]
    assert ratio == pytest.approx(owned["usd_per_device_hour"] / 3.0)
    at_rent = {"usd_per_device_hour": owned["usd_per_device_hour"], "owned": OWNED}
    even = ask(client, pricing=at_rent)["cost"]["owned"]["break_even_utilization"]
    assert even == pytest.approx(0.7)
    assert cost["owned"]["break_even_utilization"] < 0.7


def test_checkpoints_and_failures_have_their_part_in_the_money(client: httpx.Client) -> None:
    cluster = ask(client, pricing={"usd_per_device_hour": 2.0})
    node = ask(
        client,
        hardware={"accelerator": "h100-sxm", "count": 8},
        pricing={"usd_per_device_hour": 2.0},
    )
    shares = []
    for answer in (cluster, node):
        cost, time = answer["cost"], answer["time"]
        in_steps = 1e10 / time["tokens_per_second_per_device"]["value"] / 3600 * 2.0
        assert cost["beside_steps_usd"] == pytest.approx(cost["usd"]["value"] - in_steps)
        shares.append(cost["beside_steps_usd"] / cost["usd"]["value"])
    assert 0 <= shares[1] <= shares[0] < 0.5


def test_a_rent_below_the_power_bill_never_makes_owning_pay(client: httpx.Client) -> None:
    cost = ask(client, pricing={"usd_per_device_hour": 0.01, "owned": OWNED})["cost"]
    assert cost["owned"]["break_even_utilization"] is None


def test_owned_hardware_that_nobody_rents_out_is_priced_by_itself(client: httpx.Client) -> None:
    hardware = {"accelerator": "mi250x", "count": 64}
    unpriced = ask(client, hardware=hardware)
    assert unpriced["cost"] is None
    assert "price-unknown" in codes(unpriced)
    answer = ask(client, hardware=hardware, pricing={"owned": OWNED})
    cost = answer["cost"]
    assert cost["usd"] == cost["owned"]["usd"]
    assert cost["usd_per_device_hour"] == cost["owned"]["usd_per_device_hour"]
    assert "price-unknown" not in codes(answer)


def test_a_reservation_breaks_even_at_the_ratio_of_the_prices(client: httpx.Client) -> None:
    offer = {"usd_per_device_hour": 1.5, "term_months": 12}
    found = ask(client, pricing={"usd_per_device_hour": 2.5, "reserved": offer})["cost"]
    assert found["reserved"]["break_even_utilization"] == pytest.approx(0.6)
    assert found["reserved"]["break_even_hours_per_device"] == pytest.approx(0.6 * 8_766)
    assert found["reserved"]["usd"]["value"] == pytest.approx(0.6 * found["usd"]["value"])


def test_the_catalogs_reservation_is_set_against_the_same_provider(client: httpx.Client) -> None:
    reserved = ask(client)["cost"]["reserved"]
    assert reserved["price"]["term"] == "reserved"
    assert reserved["on_demand"]["term"] == "on-demand"
    for price in (reserved["price"], reserved["on_demand"]):
        assert "prices/aws/p5.48xlarge/us-east-1/" in price["source"]


def test_three_methods_stay_apart_each_with_factor_source_and_year(client: httpx.Client) -> None:
    site = {"region": "aws/us-east-1", "marginal_gco2e_per_kwh": 557}
    carbon = ask(client, site=site)["carbon"]
    factors = carbon["factors"]
    assert factors["location"]["year"] == 2023
    assert "eGRID" in factors["location"]["source"]
    assert (factors["market"]["gco2e_per_kwh"], factors["market"]["year"]) == (0.0, 2024)
    assert factors["marginal"]["source"] == "the request"
    kwh = carbon["energy_kwh"]["value"]
    for field, method in (("operational", "location"), ("market", "market"), ("marginal",) * 2):
        grams = factors[method]["gco2e_per_kwh"]
        assert carbon[f"{field}_kgco2e"]["value"] == pytest.approx(kwh * grams / 1e3)


def test_the_catalog_ships_no_marginal_figure(client: httpx.Client) -> None:
    carbon = ask(client, site={"region": "aws/us-east-1"})["carbon"]
    assert carbon["marginal_kgco2e"] is None
    assert carbon["factors"]["marginal"] is None


def test_pue_is_applied_once_and_water_on_site_counts_it_energy(client: httpx.Client) -> None:
    site = {"grid_gco2e_per_kwh": 100, "wue_l_per_kwh": 1.0, "grid_water_l_per_kwh": 3.0}
    bare = ask(client, site=site | {"pue": 1.0})["carbon"]
    built = ask(client, site=site | {"pue": 1.5})["carbon"]
    assert built["energy_kwh"]["value"] == pytest.approx(1.5 * bare["energy_kwh"]["value"])
    assert built["water_on_site_litres"] == bare["water_on_site_litres"]
    assert built["water_on_site_litres"]["value"] == pytest.approx(bare["energy_kwh"]["value"])
    assert built["water_off_site_litres"]["value"] == pytest.approx(
        3.0 * built["energy_kwh"]["value"]
    )


def test_the_shares_of_the_energy_add_up(client: httpx.Client) -> None:
    accounting = {"programme_factor": 1.5, "idle_device_hours": 100}
    carbon = ask(client, accounting=accounting)["carbon"]
    assert sum(carbon["energy"].values()) == pytest.approx(carbon["energy_kwh"]["value"])
    assert carbon["energy"]["idle_reserved_kwh"] > 0


def test_eight_h100_in_training_draw_7_75_to_8_4_kilowatts(client: httpx.Client) -> None:
    hardware = {"accelerator": "h100-sxm", "count": 8}
    answer = ask(client, hardware=hardware, site={"grid_gco2e_per_kwh": 100, "pue": 1.0})
    kilowatts = (
        8 * answer["carbon"]["energy_kwh"]["value"] / answer["time"]["device_hours"]["value"]
    )
    assert 7.75 <= kilowatts <= 8.4


def test_a_programme_is_counted_only_when_it_is_asked_for(client: httpx.Client) -> None:
    alone = ask(client)
    whole = ask(client, accounting={"programme_factor": 2.0})
    assert alone["carbon"]["energy"]["programme_kwh"] == 0.0
    for field in ("energy_kwh", "operational_kgco2e", "embodied_kgco2e", "total_kgco2e"):
        single, double = alone["carbon"][field]["value"], whole["carbon"][field]["value"]
        assert double == pytest.approx(2 * single), field
    assert whole["cost"] == alone["cost"]


def test_idle_reserved_hours_cost_money_power_and_making(client: httpx.Client) -> None:
    alone = ask(client)
    idle = ask(client, accounting={"idle_device_hours": 1000})
    more = idle["cost"]["usd"]["value"] - alone["cost"]["usd"]["value"]
    assert more == pytest.approx(1000 * alone["cost"]["usd_per_device_hour"])
    for field in ("energy_kwh", "embodied_kgco2e"):
        assert idle["carbon"][field]["value"] > alone["carbon"][field]["value"]


def test_hardware_that_is_used_longer_embodies_less_an_hour(client: httpx.Client) -> None:
    usual = ask(client)["carbon"]["embodied_kgco2e"]
    longer = ask(client, accounting={"hardware_lifetime_years": 8})["carbon"]["embodied_kgco2e"]
    assert longer["value"] == pytest.approx(usual["value"] / 2)
    assert usual["low"] < usual["value"] < usual["high"]


def test_sci_states_its_r_and_never_takes_market_based_figures(client: httpx.Client) -> None:
    carbon = ask(client, site={"region": "aws/us-east-1"})["carbon"]
    sci = carbon["software_carbon_intensity"]
    assert sci["functional_unit"] == "million tokens of training"
    assert sci["units"] == 1e4
    assert carbon["market_kgco2e"]["value"] == 0.0
    total = carbon["total_kgco2e"]["value"]
    assert sci["kgco2e_per_unit"]["value"] == pytest.approx(total / 1e4)
    unit = {"name": "question", "count": 5e6}
    own = ask(client, accounting={"functional_unit": unit})["carbon"]["software_carbon_intensity"]
    assert (own["functional_unit"], own["units"]) == ("question", 5e6)


def test_pictures_stand_beside_the_amount_with_their_sources(client: httpx.Client) -> None:
    carbon = ask(client)["carbon"]
    assert all("arXiv" in picture["source"] for picture in carbon["equivalents"])
    assert carbon["included"]
    assert carbon["left_out"]


SERIES = [400, 300, 200, *[100] * 9, 400, 400, 400, 400, 400, 400, 400, 400]


def test_a_series_advises_when_to_start(client: httpx.Client) -> None:
    found = ask(client, site={"region": "aws/us-east-1", "hourly_gco2e_per_kwh": SERIES})
    advice = found["carbon"]["start_time"]
    assert advice["start_hour"] == 3
    assert advice["kgco2e"] < advice["kgco2e_at_once"] < advice["kgco2e_at_worst"]
    kwh = found["carbon"]["energy_kwh"]["value"]
    assert advice["kgco2e"] == pytest.approx(kwh * 0.1)
    saving = 1 - advice["kgco2e"] / advice["kgco2e_at_once"]
    assert advice["saving_share"] == pytest.approx(saving)


def test_a_series_that_ends_before_the_job_advises_nothing_and_says_so(
    client: httpx.Client,
) -> None:
    found = ask(client, site={"hourly_gco2e_per_kwh": [300, 200]})
    assert found["carbon"]["start_time"] is None
    assert "series-too-short" in codes(found)
    assert found["carbon"]["factors"]["location"]["gco2e_per_kwh"] == 250


def test_a_size_needs_a_number_of_devices_to_be_advised(client: httpx.Client) -> None:
    size = {"model": {"kind": "size", "parameters": 100_000_000}, "workload": None}
    site = {"hourly_gco2e_per_kwh": [300.0] * 24 + [100.0] * 8_000}
    unknown = ask(client, **size, hardware={"accelerator": "h100-sxm"}, site=site)
    assert "start-time-unknown" in codes(unknown)
    known = ask(client, **size, site=site)
    assert known["carbon"]["start_time"]["start_hour"] == 24


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"site": {"hourly_gco2e_per_kwh": [1.0] * 8_785}}, "/site/hourly_gco2e_per_kwh"),
        ({"site": {"hourly_gco2e_per_kwh": [-1]}}, "/site/hourly_gco2e_per_kwh/0"),
        ({"pricing": {"owned": OWNED | {"utilization": 0}}}, "/pricing/owned/utilization"),
        ({"pricing": {"owned": {"purchase_usd": 1e4}}}, "/pricing/owned/lifetime_years"),
        ({"accounting": {"programme_factor": 0.5}}, "/accounting/programme_factor"),
        ({"accounting": {"programme_factor": 1e400}}, "/accounting/programme_factor"),
    ],
)
def test_terms_that_make_no_sense_are_refused_at_their_field(
    client: httpx.Client, more: dict[str, Any], pointer: str
) -> None:
    body = json.dumps(JOB | more).replace("Infinity", "1e400")
    response = client.post("/estimate", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert pointer in {error["pointer"] for error in response.json()["errors"]}


def test_a_sweep_counts_what_the_estimate_counts(client: httpx.Client) -> None:
    accounting = {"programme_factor": 1.5, "idle_device_hours": 100}
    columns = ["/cost/usd/value", "/carbon/total_kgco2e/value"]
    body = {
        "base": JOB | {"accounting": accounting},
        "axes": {"/site/region": ["aws/us-east-1", "nebius/eu-north1"]},
        "columns": columns,
    }
    swept = client.post("/sweep", json=body).json()["columns"]
    for row, region in enumerate(body["axes"]["/site/region"]):
        alone = ask(client, accounting=accounting, site={"region": region})
        assert swept[columns[0]][row] == pytest.approx(alone["cost"]["usd"]["value"])
        assert swept[columns[1]][row] == pytest.approx(alone["carbon"]["total_kgco2e"]["value"])


def test_as_of_gives_the_same_bytes_after_newer_facts_are_added(
    keyed: httpx.Client,
) -> None:
    body = JOB | {"site": {"region": "azure/eastus"}, "as_of": "2026-11-02"}
    places = {"request": JOB | {"as_of": "2026-11-02"}}
    before = [keyed.post("/estimate", json=body), keyed.post("/places", json=places)]
    now = keyed.post("/estimate", json=JOB | {"site": {"region": "azure/eastus"}}).json()
    provenance = {"source": "a newer list", "source_date": "2026-11-20", "licence": "CC0-1.0"}
    price = {
        "provider": "azure",
        "accelerator": "h100-sxm",
        "accelerator_count": 8,
        "region": "azure/eastus",
        "term": "on-demand",
        "usd_per_device_hour": 1.11,
        "provenance": provenance,
    }
    path = "/prices/azure/as-of-test/eastus/on-demand"
    assert keyed.put(path, json=price, headers=bearer(WRITE)).status_code == 201
    after = [keyed.post("/estimate", json=body), keyed.post("/places", json=places)]
    assert [r.content for r in after] == [r.content for r in before]
    assert [r.status_code for r in after] == [200, 200]
    newer = keyed.post("/estimate", json=JOB | {"site": {"region": "azure/eastus"}}).json()
    assert newer["cost"]["price"] != now["cost"]["price"]
    keyed.delete(path, headers=bearer(ADMIN) | {"If-Match": "*"})
