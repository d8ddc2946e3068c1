from __future__ import annotations

import numpy as np
import pytest

from service.core import carbon
from service.core.uncertainty import Interval

ENERGY = Interval(1_000.0, 900.0, 1_150.0)
NOTHING = Interval(0.0, 0.0, 0.0)


def exact(value: float) -> Interval:
    return Interval(value, value, value)


def test_one_node_day_in_virginia_is_52_to_119_kg_or_0_by_the_factor_chosen() -> None:
    node_day = exact(7.75 * 24 * 1.15)
    factors = {245: 52, 323: 69, 369: 79, 384: 82, 396: 85, 416: 89, 557: 119, 0: 0}
    for factor, kilograms in factors.items():
        assert carbon.operational_kgco2e(node_day, factor).value == pytest.approx(
            kilograms, abs=0.7
        )


def test_location_market_and_marginal_stay_apart_and_unknown_stays_unknown() -> None:
    use = carbon.operational(ENERGY, 323.0, market_gco2e_per_kwh=0.0)
    assert use.location_kgco2e.value == pytest.approx(323.0)
    assert use.market_kgco2e == NOTHING
    assert use.marginal_kgco2e is None


def test_the_interval_of_the_energy_is_carried_through() -> None:
    kilograms = carbon.operational_kgco2e(ENERGY, 400.0)
    assert kilograms == pytest.approx((400.0, 360.0, 460.0))


def test_the_best_start_is_the_cleanest_window() -> None:
    series = np.array([500.0, 400.0, 100.0, 100.0, 300.0, 600.0])
    advice = carbon.start_advice(series, 2.0, 10.0)
    assert advice.start_hour == 2
    assert advice.kgco2e == pytest.approx(2.0)
    assert advice.kgco2e_at_once == pytest.approx(9.0)
    assert advice.saving_share == pytest.approx(7 / 9)


def test_a_fraction_of_an_hour_counts_as_a_fraction() -> None:
    series = np.array([300.0, 200.0, 100.0])
    advice = carbon.start_advice(series, 1.5, 2.0)
    by_hand = [2.0 * (300 + 100) / 1e3, 2.0 * (200 + 50) / 1e3]
    assert advice.start_hour == 1
    assert advice.kgco2e == pytest.approx(min(by_hand))
    assert advice.kgco2e_at_once == pytest.approx(by_hand[0])
    assert carbon.start_advice(series, 0.5, 2.0).kgco2e == pytest.approx(0.1)


def test_the_best_start_equals_trying_every_hour() -> None:
    series = np.random.default_rng(6).uniform(50, 600, 200)
    advice = carbon.start_advice(series, 31.25, 7.0)
    tried = [
        (series[s : s + 31].sum() + 0.25 * series[s + 31]) * 7.0 / 1e3 for s in range(200 - 31)
    ]
    assert advice.start_hour == int(np.argmin(tried))
    assert advice.kgco2e == pytest.approx(min(tried))
    assert advice.kgco2e_latest_worst == pytest.approx(max(tried))


@pytest.mark.parametrize("duration", [0.0, -1.0, 3.5])
def test_a_series_that_does_not_cover_the_job_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="cover"):
        carbon.start_advice(np.array([1.0, 2.0, 3.0]), duration, 1.0)


def test_an_h100_hour_embodies_5_to_18_grams_for_the_card_by_method() -> None:
    card = Interval(273.0, 164.0, 575.0)
    hour = carbon.embodied_kgco2e(1.0, card, NOTHING, lifetime_years=4.0, utilization=0.9)
    assert 0.005 <= hour.low < hour.value < hour.high <= 0.0185


def test_the_share_of_the_server_is_counted_beside_the_card() -> None:
    server = Interval(712.0, 125.0, 1_525.0)
    card = Interval(273.0, 164.0, 575.0)
    both = carbon.embodied_kgco2e(1e4, card, server)
    alone = carbon.embodied_kgco2e(1e4, card, NOTHING)
    assert both.value - alone.value == pytest.approx(712e4 / (4 * 8_766 * 0.85))


def test_wue_counts_it_energy_and_power_plants_count_the_building() -> None:
    it, total = exact(1_000.0), exact(1_200.0)
    used = carbon.water(it, total, wue_l_per_kwh=0.5, grid_l_per_kwh=3.0)
    assert used.on_site_litres == exact(500.0)
    assert used.off_site_litres == exact(3_600.0)
    assert carbon.water(it, total).on_site_litres is None


def test_sci_states_its_r_and_adds_use_and_making() -> None:
    use = carbon.operational(ENERGY, 400.0, 0.0, 700.0)
    sci = carbon.software_carbon_intensity(use, Interval(20, 10, 50), "1,000 tokens", 1e6)
    assert sci.functional_unit == "1,000 tokens"
    assert sci.kgco2e_per_unit.value == pytest.approx(420 / 1e6)
    assert sci.kgco2e_per_unit.low == pytest.approx(370 / 1e6)
    marginal = carbon.software_carbon_intensity(use, NOTHING, "run", 1, "marginal")
    assert marginal.kgco2e_per_unit.value == pytest.approx(700)


def test_sci_never_takes_market_based_figures() -> None:
    lower = carbon.operational(ENERGY, 400.0, 0.0)
    higher = carbon.operational(ENERGY, 400.0, 900.0)
    results = {
        carbon.software_carbon_intensity(use, NOTHING, "run", 1).kgco2e_per_unit.value
        for use in (lower, higher)
    }
    assert results == {400.0}
    with pytest.raises(ValueError, match="marginal"):
        carbon.software_carbon_intensity(lower, NOTHING, "run", 1, "marginal")


def test_sci_without_a_functional_unit_is_refused() -> None:
    use = carbon.operational(ENERGY, 400.0)
    for name, units in (("", 1.0), ("run", 0.0)):
        with pytest.raises(ValueError, match="R needs"):
            carbon.software_carbon_intensity(use, NOTHING, name, units)


def test_every_equivalent_has_a_source_and_keeps_the_interval() -> None:
    for count, each in carbon.equivalents(Interval(2_400.0, 1_200.0, 3_600.0)):
        assert "arXiv" in each.source
        assert count.low < count.value < count.high
    flights = carbon.equivalents(exact(2_400.0))[0][0]
    assert flights.value == pytest.approx(2.0)


def test_what_is_counted_and_what_is_left_out_is_listed_without_overlap() -> None:
    assert len(carbon.INCLUDED) >= 5
    assert len(carbon.LEFT_OUT) >= 5
    assert not set(carbon.INCLUDED) & set(carbon.LEFT_OUT)
