"""Records as columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.core.numeric import Number
from service.core.spending import Site
from service.core.stacking import stack


class Pair(NamedTuple):
    a: Number
    b: Number
    inner: tuple[Site, ...]


def test_only_columns_that_say_one_thing_become_plain_numbers() -> None:
    pairs = [Pair(1.0, 2.0, (Site(5.0, 1.0),)), Pair(1.0, 3.0, (Site(5.0, 1.2),))]
    found = stack(pairs, collapse=True)
    assert isinstance(found.a, float)
    assert found.a == 1.0
    assert np.asarray(found.b).tolist() == [2.0, 3.0]
    assert isinstance(found.inner[0].grid, float)
    assert np.asarray(found.inner[0].pue).tolist() == [1.0, 1.2]
