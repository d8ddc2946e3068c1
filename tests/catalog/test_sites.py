"""A place's figures, and what stands in for those that are not known: never in silence."""

from __future__ import annotations

import pytest

from service.catalog.errors import UnknownName
from service.catalog.sites import site
from service.catalog.snapshot import Snapshot


def test_a_region_with_figures_of_its_own_gives_no_notice(seeded: Snapshot) -> None:
    found = site(seeded, "gcp/us-central1")
    assert (found.grid.value, found.grid.year) == (412.72, 2024)
    assert (found.pue.value, found.pue.origin.name) == (1.1, "gcp/us-central1")
    assert found.market is not None
    assert found.marginal is None
    assert found.notices == ()


def test_a_state_that_stands_in_for_a_region_is_named(seeded: Snapshot) -> None:
    found = site(seeded, "aws/us-east-1")
    assert found.grid.value == 244.76
    assert [notice.code for notice in found.notices] == ["grid-stand-in"]
    assert "zone/us-va" in found.notices[0].message


def test_a_fleet_or_the_world_stands_in_for_an_unknown_pue(seeded: Snapshot) -> None:
    tokyo = site(seeded, "gcp/asia-northeast1")
    assert (tokyo.pue.value, tokyo.pue.origin.name) == (1.09, "gcp")
    france = site(seeded, "FR")
    assert (france.pue.value, france.pue.origin.name) == (1.56, "world")
    for found in (tokyo, france):
        assert "pue-stand-in" in [notice.code for notice in found.notices]


def test_a_provider_without_a_place_takes_the_worlds_grid_and_says_so(seeded: Snapshot) -> None:
    found = site(seeded, "aws")
    assert found.grid.origin.name == "world"
    assert [notice.code for notice in found.notices] == ["grid-stand-in"]


def test_water_on_site_is_known_where_the_provider_discloses_it(seeded: Snapshot) -> None:
    found = site(seeded, "aws/us-east-1").wue
    assert found is not None
    assert found.value == 0.12
    assert site(seeded, "country/fr").wue is None


def test_a_place_that_is_not_known_is_never_replaced_by_its_country(seeded: Snapshot) -> None:
    with pytest.raises(UnknownName):
        site(seeded, "aws/us-east-9")
