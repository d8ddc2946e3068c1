"""Where a job is cheapest, cleanest and fastest: ranked, marked, and never answered unseen."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

JOB = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "pretraining", "tokens": 1e10},
}
ON_64 = JOB | {"hardware": {"accelerator": "h100-sxm", "count": 64}}


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post("/places", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_an_option_is_what_the_estimate_of_its_place_says(client: httpx.Client) -> None:
    found = ask(client, request=ON_64, regions=["aws/eu-north-1"])
    (option,) = found["options"]
    pricing = {"provider": "aws", "region": "aws/eu-north-1", "term": "on-demand"}
    body = ON_64 | {"site": {"region": "aws/eu-north-1"}, "pricing": pricing}
    alone = client.post("/estimate", json=body).json()
    assert option["usd"] == pytest.approx(alone["cost"]["usd"])
    assert option["total_kgco2e"] == pytest.approx(alone["carbon"]["total_kgco2e"])
    assert option["market_kgco2e"] == pytest.approx(alone["carbon"]["market_kgco2e"])
    assert option["device_hours"] == pytest.approx(alone["time"]["device_hours"])
    assert option["grid"] == alone["carbon"]["factors"]["location"]
    assert option["price"] == alone["cost"]["price"]


def test_places_are_ranked_and_the_pareto_set_is_not_beaten(client: httpx.Client) -> None:
    found = ask(
        client,
        request=JOB,
        accelerators=["h100-sxm", "a100-sxm4-80gb"],
        terms=["on-demand", "spot"],
        limit=500,
    )
    options = found["options"]
    assert len(options) == found["considered"] > 20
    assert [option["rank"] for option in options] == list(range(1, len(options) + 1))
    columns = [
        (o["usd"]["value"], o["total_kgco2e"]["value"], o["wall_clock_hours"]["value"])
        for o in options
    ]
    for option, own in zip(options, columns, strict=True):
        beaten = any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in columns
        )
        assert option["pareto"] is not beaten
    assert found["cheapest"]["usd"]["value"] == min(usd for usd, _, _ in columns)
    assert found["cleanest"]["total_kgco2e"]["value"] == min(kg for _, kg, _ in columns)
    assert found["fastest"]["wall_clock_hours"]["value"] == min(hours for _, _, hours in columns)


def test_the_cheapest_way_keeps_the_deadline_and_takes_more_devices_for_it(
    client: httpx.Client,
) -> None:
    accelerators = ["h100-sxm", "l40s"]
    slow = ask(client, request=JOB, accelerators=accelerators, deadline_hours=1000)["cheapest"]
    quick = ask(client, request=JOB, accelerators=accelerators, deadline_hours=12)["cheapest"]
    assert quick["wall_clock_hours"]["value"] <= 12 < slow["wall_clock_hours"]["value"]
    assert quick["devices"] > slow["devices"]
    assert quick["deadline"] in ("in_time", "at_risk")


def test_what_is_late_comes_last_and_is_never_the_best(client: httpx.Client) -> None:
    request = JOB | {"hardware": {"accelerator": "h100-sxm"}}
    found = ask(client, request=request, devices=[8, 64], deadline_hours=10)
    late = [option["deadline"] == "late" for option in found["options"]]
    assert late == sorted(late)
    assert any(late)
    assert not all(late)
    assert not any(o["pareto"] for o in found["options"] if o["deadline"] == "late")
    assert found["cheapest"]["devices"] == 64
    nothing = ask(client, request=request, devices=[8], deadline_hours=1)
    assert nothing["cheapest"] is nothing["cleanest"] is nothing["fastest"] is None


def test_whole_instances_are_paid_for_and_used_where_the_job_can(client: httpx.Client) -> None:
    given = JOB | {"hardware": {"accelerator": "h100-sxm", "count": 4}}
    regions = ["hyperstack/canada-1"]
    (option,) = ask(client, request=given, regions=regions)["options"]
    assert (option["devices"], option["devices_rented"]) == (4, 8)
    assert "larger-slice" in option["marks"]
    rent = option["device_hours"]["value"] * option["price"]["usd_per_device_hour"]
    assert option["usd"]["value"] == pytest.approx(2 * rent)
    (free,) = ask(client, request=JOB, accelerators=["h100-sxm"], regions=regions)["options"]
    assert free["devices"] == free["devices_rented"] == 8


def test_a_place_without_a_price_is_left_out_and_said_never_replaced(
    client: httpx.Client,
) -> None:
    found = ask(client, request=ON_64, regions=["gcp/europe-west1", "country/fr", "azure/westus"])
    assert [option["region"] for option in found["options"]] == ["azure/westus"]
    assert [entry["name"] for entry in found["left_out"]] == ["gcp/europe-west1", "country/fr"]
    assert all("no on-demand price" in entry["reason"] for entry in found["left_out"])


def test_stand_ins_and_stale_rows_are_marked(client: httpx.Client) -> None:
    options = ask(client, request=ON_64, limit=500)["options"]
    by_place = {option["region"] or option["provider"]: option for option in options}
    assert "grid-stand-in" in by_place["azure/westus"]["marks"]
    assert "price-stale" in by_place["azure/westus"]["marks"]
    assert {"price-region-unstated", "place-unknown"} <= set(by_place["oci"]["marks"])
    assert by_place["oci"]["region"] is None
    own = ask(client, request=ON_64 | {"pricing": {"usd_per_device_hour": 2.5}}, limit=500)
    clean = {option["region"] for option in own["options"] if not option["marks"]}
    assert "gcp/europe-north1" in clean
    assert not any(name.startswith("azure/") for name in clean)


def test_with_ones_own_price_every_region_is_ranked_by_carbon(client: httpx.Client) -> None:
    body = ON_64 | {"pricing": {"usd_per_device_hour": 2.5}}
    found = ask(client, request=body, limit=500)
    assert found["considered"] > 150
    grams = [option["total_kgco2e"]["value"] for option in found["options"]]
    assert grams == sorted(grams)
    only = ask(client, request=body, providers=["gcp"], limit=500)["options"]
    assert {option["provider"] for option in only} == {"gcp"}


def test_weights_decide_what_counts(client: httpx.Client) -> None:
    money = ask(client, request=ON_64, weights={"usd": 1, "kgco2e": 0, "hours": 0}, limit=500)
    prices = [option["usd"]["value"] for option in money["options"]]
    assert prices == sorted(prices)


def test_a_size_alone_is_ranked_and_the_deadline_says_on_how_many(client: httpx.Client) -> None:
    request = {"model": {"kind": "size", "parameters": 7_000_000_000}}
    found = ask(client, request=request, accelerators=["h100-sxm"], deadline_hours=500)
    best = found["cheapest"]
    assert best["wall_clock_hours"]["value"] <= 500
    assert best["admission"] is None


def test_what_does_not_fit_is_left_out_with_its_reason(client: httpx.Client) -> None:
    request = JOB | {"hardware": {"accelerator": "t4", "count": 1}}
    found = ask(client, request=request)
    assert found["options"] == []
    assert found["left_out"] == [{"name": "t4", "reason": "does not fit on 1 devices"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"request": JOB | {"site": {"country": "FR"}}}, "/request/site"),
        ({"request": JOB | {"pricing": {"provider": "aws"}}}, "/request/pricing"),
        ({"request": JOB | {"workload": {"kind": "inference"}}}, "/request/workload"),
        ({"request": JOB, "regions": ["aws/us-east-11"]}, "/regions/0"),
        ({"request": JOB, "providers": ["awz"]}, "/providers/0"),
        ({"request": JOB, "accelerators": ["t4", "h100-sxn"]}, "/accelerators/1"),
        ({"request": JOB, "devices": [0]}, "/devices/0"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_field(
    client: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    response = client.post("/places", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
