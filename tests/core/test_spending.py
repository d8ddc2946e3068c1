"""Device-hours to money, energy, carbon and water in one place, against arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core import carbon, energy
from service.core.spending import SERVER_SHARE_KGCO2E, Accounting, Draw, Site, Spending, spending
from service.core.uncertainty import Interval

HOURS = Interval(1_000.0, 800.0, 1_500.0)
CARD = Interval(164.0, 30.0, 320.0)
DRAW = Draw(energy.power_envelope("h100-sxm", 700.0, 70.0), Interval(0.4, 0.35, 0.45), 2.0, CARD)
SITE = Site(grid=300.0, pue=1.2, market=50.0, wue=0.5, grid_water=2.0)


def spent(**accounting: float) -> Spending:
    return spending(HOURS, DRAW, SITE, 2.5, Accounting(**accounting))


def test_reserved_hours_are_paid_beside_those_that_ran() -> None:
    assert spent().usd == pytest.approx((2_500.0, 2_000.0, 3_750.0))
    assert spent(idle_device_hours=200.0).usd == pytest.approx((3_000.0, 2_500.0, 4_250.0))


def test_all_carbon_is_that_of_use_and_of_making_bound_by_bound() -> None:
    found = spent()
    use = found.operational.location_kgco2e
    for total, used, made in zip(found.total_kgco2e, use, found.embodied_kgco2e, strict=True):
        assert total == pytest.approx(used + made)
    assert use.value == pytest.approx(found.energy.total_kwh.value * 0.3)
    assert found.operational.market_kgco2e is not None
    assert found.operational.market_kgco2e.value == pytest.approx(use.value / 6.0)


def test_making_is_shared_out_by_all_hours_that_were_reserved() -> None:
    made = (CARD.value + SERVER_SHARE_KGCO2E.value) / (4.0 * 8_766.0 * 0.85)
    assert spent().embodied_kgco2e.value == pytest.approx(1_000.0 * made)
    assert spent(idle_device_hours=200.0).embodied_kgco2e.value == pytest.approx(1_200.0 * made)
    longer = spent(lifetime_years=8.0, lifetime_utilization=0.425)
    assert longer.embodied_kgco2e.value == pytest.approx(1_000.0 * made)


def test_a_programme_multiplies_all_but_the_money() -> None:
    one, three = spent(idle_device_hours=200.0), spent(idle_device_hours=200.0, programme_factor=3)
    assert three.usd == one.usd
    assert three.energy.total_kwh == pytest.approx(tuple(3.0 * x for x in one.energy.total_kwh))
    assert three.total_kgco2e == pytest.approx(tuple(3.0 * x for x in one.total_kgco2e))
    assert three.water.on_site_litres == pytest.approx(
        tuple(3.0 * x for x in one.water.on_site_litres or ())
    )


def test_waiting_lowers_the_draw_and_a_clusters_own_residual_replaces_the_measured_one() -> None:
    waiting = spending(HOURS, DRAW._replace(compute_share=0.5), SITE, 2.5).energy
    assert waiting.total_kwh.value < spent().energy.total_kwh.value
    own = Interval(1.1, 1.1, 1.1)
    corrected = spending(HOURS, DRAW._replace(residual=own), SITE, 2.5).energy
    assert corrected.total_kwh.value == pytest.approx(1.1 * spent().energy.total_kwh.value)


def test_water_on_site_is_counted_on_it_energy_and_elsewhere_on_all() -> None:
    found = spent()
    assert found.water.on_site_litres == pytest.approx(tuple(0.5 * x for x in found.energy.it_kwh))
    assert found.water.off_site_litres == pytest.approx(
        tuple(2.0 * x for x in found.energy.total_kwh)
    )
    assert carbon.water(HOURS, HOURS) == (None, None)


def test_an_envelope_with_a_larger_host_draws_more() -> None:
    wide = replace(DRAW.envelope, host_watts=DRAW.envelope.host_watts + 100.0)
    more = spending(HOURS, DRAW._replace(envelope=wide), SITE, 2.5).energy
    added = 1_000.0 * 0.1
    assert more.host_kwh - spent().energy.host_kwh == pytest.approx(added)
