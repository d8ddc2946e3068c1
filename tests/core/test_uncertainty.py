"""Arithmetic of intervals by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.core.uncertainty import Interval, added, product, relative

ZERO = Interval(0.0, 0.0, 0.0)
SOME = Interval(10.0, 5.0, 40.0)


def test_an_exact_factor_or_amount_moves_all_bounds_alike() -> None:
    assert SOME.times(3.0) == (30.0, 15.0, 120.0)
    assert SOME.plus(3.0) == (13.0, 8.0, 43.0)


def test_the_bounds_of_an_inverse_change_places() -> None:
    assert SOME.inverse(20.0) == (2.0, 0.5, 4.0)


def test_relative_bounds_are_logarithms_of_ratios() -> None:
    found = relative(10.0, -math.log(2.0), math.log(4.0))
    assert found == pytest.approx((10.0, 5.0, 40.0))


def test_the_sum_of_two_that_err_together_adds_each_bound() -> None:
    assert added(SOME, Interval(1.0, 0.5, 3.0)) == (11.0, 5.5, 43.0)


def test_half_widths_of_a_product_add_in_quadrature_on_each_side() -> None:
    found = product(SOME, Interval(2.0, 1.0, 6.0))
    below = math.hypot(math.log(2.0), math.log(2.0))
    above = math.hypot(math.log(4.0), math.log(3.0))
    assert found == pytest.approx((20.0, 20.0 * math.exp(-below), 20.0 * math.exp(above)))


def test_nothing_times_anything_is_nothing_as_float_and_as_array() -> None:
    assert product(ZERO, SOME) == ZERO
    both = Interval(np.array([0.0, 10.0]), np.array([0.0, 5.0]), np.array([0.0, 40.0]))
    found = product(both, Interval(1.0, 1.0, 1.0))
    for column, (nothing, some) in zip(found, zip(ZERO, SOME, strict=True), strict=True):
        assert column == pytest.approx([nothing, some])
