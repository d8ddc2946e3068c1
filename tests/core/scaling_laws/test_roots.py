"""The solvers: right where functions are smooth and where they jump."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.scaling_laws.roots import falling_root, last_below, least


@given(root=st.floats(-0.999, 2.999), slope=st.floats(0.01, 100.0), bend=st.floats(0.0, 2.0))
def test_last_below_finds_a_smooth_root_from_below_in_few_calls(root, slope, bend):
    calls = []

    def rising(x):
        calls.append(x)
        return slope * ((x - root) + bend * ((x + 1.0) ** 3 - (root + 1.0) ** 3))

    found = last_below(rising, -1.0, 3.0)
    assert found == pytest.approx(root, abs=2e-9)
    assert found <= root + 1e-12
    assert len(calls) <= 36


@given(edge=st.floats(-0.99, 2.99))
def test_last_below_finds_a_jump(edge):
    found = last_below(lambda x: -1.0 if x < edge else float("inf"), -1.0, 3.0)
    assert edge - 2e-9 <= found <= edge


def test_columns_are_solved_at_once():
    roots = np.array([0.1, 0.5, 0.9])
    low, high = np.zeros(3), np.ones(3)
    assert last_below(lambda x: x - roots, low, high) == pytest.approx(roots, abs=2e-9)
    assert falling_root(lambda x: roots - x, low, high) == pytest.approx(roots, abs=1e-12)
    valley = least(lambda x: (x - roots) ** 2, low, high)
    assert valley == pytest.approx(roots, abs=1e-6)


def test_the_least_of_several_valleys_is_the_deepest():
    found = least(lambda x: float(np.cos(4.0 * x) - 0.1 * x), 0.0, 6.0)
    assert found == pytest.approx((7.0 * np.pi + np.arcsin(0.025)) / 4.0, abs=1e-6)
    assert least(lambda x: x, 0.0, 1.0) == pytest.approx(0.0, abs=1e-6)
