from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from service.core import cost
from service.core.uncertainty import Interval

OWNED = cost.OwnedHardware(
    purchase_usd=40_000.0,
    lifetime_years=4.0,
    utilization=0.8,
    it_watts=970.0,
    pue=1.2,
    usd_per_kwh=0.10,
    idle_it_watts=300.0,
    staff_share=0.05,
)


def test_mpt_7b_cost_two_hundred_thousand_dollars_as_its_makers_said() -> None:
    hours = Interval(100_320.0, 90_000.0, 120_000.0)
    usd = cost.cost_usd(hours, 2.0)
    assert usd.value == pytest.approx(200_000, rel=0.01)
    assert (usd.low, usd.high) == (180_000.0, 240_000.0)


def test_fixed_money_is_added_once() -> None:
    assert cost.cost_usd(Interval(10.0, 8.0, 12.0), 2.0, 5.0) == (25.0, 21.0, 29.0)


def test_hosting_is_paid_by_the_year_and_a_residual_comes_off_the_purchase() -> None:
    used, plain = 8_766 * 0.8, cost.owned_usd_per_device_hour(OWNED)
    hosted = cost.owned_usd_per_device_hour(replace(OWNED, hosting_usd_per_year=1_000.0))
    assert hosted - plain == pytest.approx(1_000.0 / used)
    sold = cost.owned_usd_per_device_hour(replace(OWNED, residual_share=0.1))
    assert plain - sold == pytest.approx(4_000.0 / 4 / used)


def test_an_owned_hour_pays_purchase_staff_and_power() -> None:
    used = 8_766 * 0.8
    capital = 40_000 / 4 / used
    staff = 2_000 / used
    power = (970 + 0.25 * 300) * 1.2 * 0.10 / 1e3
    assert cost.owned_usd_per_device_hour(OWNED) == pytest.approx(capital + staff + power)


def test_an_owned_hour_is_cheaper_the_more_hours_are_used() -> None:
    shares = np.array([0.2, 0.5, 0.9])
    prices = cost.owned_usd_per_device_hour(replace(OWNED, utilization=shares))
    assert (np.diff(prices) < 0).all()
    assert prices[1] == pytest.approx(
        cost.owned_usd_per_device_hour(replace(OWNED, utilization=0.5))
    )


def test_owning_breaks_even_where_both_prices_are_equal() -> None:
    share = cost.owned_break_even_utilization(OWNED, 2.5)
    at = cost.owned_usd_per_device_hour(replace(OWNED, utilization=share))
    assert at == pytest.approx(2.5)
    assert 0 < share < 1
    assert cost.owned_break_even_utilization(OWNED, 0.05) == float("inf")
    swept = cost.owned_break_even_utilization(OWNED, np.array([2.5, 0.05]))
    assert swept.tolist() == [pytest.approx(share), float("inf")]


def test_a_reservation_breaks_even_at_the_ratio_of_the_prices() -> None:
    assert cost.break_even_utilization(1.5, 2.5) == pytest.approx(0.6)
    assert cost.break_even_hours(1.5, 2.5, 8_766) == pytest.approx(0.6 * 8_766)
    assert cost.break_even_utilization(3.0, 2.5) > 1


@pytest.mark.parametrize(
    ("priced_on", "stale"),
    [(date(2026, 8, 25), False), (date(2026, 8, 24), True), (None, True)],
)
def test_a_price_is_stale_after_ninety_days(priced_on: date | None, stale: bool) -> None:
    assert cost.is_stale(priced_on, date(2026, 11, 23)) is stale


def test_the_cheapest_option_has_to_keep_the_deadline() -> None:
    usd = np.array([50.0, 80.0, 60.0, np.nan])
    hours = np.array([200.0, 20.0, 90.0, 1.0])
    assert cost.cheapest_within(usd, hours) == 0
    assert cost.cheapest_within(usd, hours, 100.0) == 2
    assert cost.cheapest_within(usd, hours, 30.0) == 1
    assert cost.cheapest_within(usd, hours, 10.0) is None


def test_of_equal_prices_the_faster_is_chosen() -> None:
    assert cost.cheapest_within(np.array([5.0, 5.0, 5.0]), np.array([9.0, 3.0, 3.0])) == 1


def test_an_option_that_another_beats_is_dominated() -> None:
    usd, carbon = np.array([1.0, 2.0, 3.0, 1.0]), np.array([3.0, 2.0, 2.0, 3.0])
    assert cost.not_dominated(usd, carbon).tolist() == [True, True, False, True]


def test_ranking_does_not_depend_on_units_and_follows_the_weights() -> None:
    usd = np.array([100.0, 300.0, 120.0])
    carbon = np.array([90.0, 5.0, 40.0])
    hours = np.array([10.0, 10.0, 10.0])
    order = cost.rank_together(usd, carbon, hours).tolist()
    assert order == cost.rank_together(usd * 7, carbon / 1e3, hours * 3600).tolist()
    assert cost.rank_together(usd, carbon, hours, (1.0, 0.0, 0.0)).tolist() == [0, 2, 1]
    assert cost.rank_together(usd, carbon, hours, (0.0, 1.0, 0.0)).tolist() == [1, 2, 0]


def test_a_market_based_zero_does_not_win_by_infinity() -> None:
    order = cost.rank_together(np.array([1e6, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert order.tolist() == [1, 0]
