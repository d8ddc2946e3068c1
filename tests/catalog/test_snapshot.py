"""Looking things up: aliases, suggestions, pages, filters."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from service.catalog.errors import UnknownKind, UnknownName
from service.catalog.snapshot import Snapshot


@pytest.mark.parametrize(
    ("kind", "asked", "name"),
    [
        ("accelerators", "h100-sxm", "h100-sxm"),
        ("accelerators", "H100", "h100-sxm"),
        ("accelerators", "A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("accelerators", "a100 80gb", "a100-sxm4-80gb"),
        ("regions", "FR", "country/fr"),
        ("regions", "fra", "country/fr"),
        ("regions", "france", "country/fr"),
        ("regions", "us-va", "zone/us-va"),
        ("regions", "gcp/us-central1", "gcp/us-central1"),
        ("regions", "gcp-us-central1", "gcp/us-central1"),
        ("models", "GPT-3", "gpt-3-175b"),
        ("models", "meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
    ],
)
def test_a_name_is_found_in_any_case_and_by_alias(
    seeded: Snapshot, kind: str, asked: str, name: str
) -> None:
    assert seeded.get(kind, asked).name == name


@pytest.mark.parametrize(
    ("kind", "asked", "suggested"),
    [
        ("accelerators", "h100-smx", "h100-sxm"),
        ("accelerators", "mi300", "mi300x"),
        ("accelerators", "4090ti", "rtx-4090"),
        ("models", "lama-3.1-8b", "llama-3.1-8b"),
        ("models", "resnet", "resnet-50"),
        ("regions", "us-central1", "gcp/us-central1"),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(
    seeded: Snapshot, kind: str, asked: str, suggested: str
) -> None:
    with pytest.raises(UnknownName, match="did you mean") as refused:
        seeded.get(kind, asked)
    assert suggested in refused.value.suggestions


@pytest.mark.parametrize("asked", ["", " ", "x" * 10_000, "\x00", "../../etc/passwd", "ß"])
def test_nonsense_is_not_found(seeded: Snapshot, asked: str) -> None:
    with pytest.raises(UnknownName):
        seeded.get("accelerators", asked)


def test_pages_hold_every_fact_once_in_order(seeded: Snapshot) -> None:
    names: list[str] = []
    cursor = None
    while True:
        page = seeded.page("regions", limit=37, cursor=cursor)
        assert 0 < len(page.items) <= 37
        names += [fact.name for fact in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert names == [fact.name for fact in seeded.facts("regions")]
    assert names == sorted(set(names))


def test_the_last_page_that_is_just_full_has_no_next(seeded: Snapshot) -> None:
    count = len(list(seeded.facts("claims")))
    assert seeded.page("claims", limit=count).next is None
    assert seeded.page("claims", limit=count - 1).next is not None


def test_filters_and_search_narrow_a_page(seeded: Snapshot) -> None:
    page = seeded.page("prices", 500, filters={"accelerator": "h100-sxm", "term": "spot"})
    assert page.items
    assert {fact.payload.accelerator for fact in page.items} == {"h100-sxm"}
    assert {fact.payload.term for fact in page.items} == {"spot"}
    found = seeded.page("regions", 500, search="virginia", filters={"scope": "cloud"}).items
    assert {"aws/us-east-1", "gcp/us-east4", "azure/eastus"} <= {fact.name for fact in found}
    assert not seeded.page("regions", filters={"scope": "moon"}).items


@pytest.mark.parametrize("cursor", ["!", "a", "é", "////8", "gA"])
def test_a_cursor_that_was_not_made_here_is_refused(seeded: Snapshot, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        seeded.page("regions", cursor=cursor)


def test_facts_are_grouped_by_an_attribute(seeded: Snapshot) -> None:
    groups = seeded.shelves["prices"].by("accelerator")
    assert sum(map(len, groups.values())) == len(seeded.shelves["prices"].rows)
    assert all(fact.payload.accelerator == "b200" for fact in groups["b200"])


def test_kinds_that_there_are_not_are_named(seeded: Snapshot) -> None:
    for ask in (lambda: seeded.find("x", "y"), lambda: seeded.page("x"), lambda: seeded.facts("x")):
        with pytest.raises(UnknownKind):
            ask()


def test_a_snapshot_and_its_facts_cannot_be_changed(seeded: Snapshot) -> None:
    fact = seeded.get("accelerators", "h100-sxm")
    with pytest.raises(FrozenInstanceError):
        seeded.revision = 9  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        fact.version = 9  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        fact.payload.tdp_watts = 1
