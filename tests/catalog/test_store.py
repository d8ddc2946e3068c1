"""Writing, reading, racing and following, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import update

from service.catalog.database import writing
from service.catalog.errors import (
    BeforeTheCatalog,
    InvalidFact,
    UnknownKind,
    UnknownName,
    VersionConflict,
)
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store
from service.catalog.tables import facts, state
from tests.catalog.documents import PROVENANCE, accelerator, price, region

WRITERS = 50


def test_a_fact_is_read_back_by_name_and_by_alias(store: Store) -> None:
    store.put("regions", "country/ut", region(aliases=["ut", "utopia"]))
    fact = store.snapshot.get("regions", "Utopia")
    assert (fact.name, fact.version, fact.etag) == ("country/ut", 1, '"1"')
    document = fact.document()
    assert document["grid_gco2e_per_kwh"] == 100
    assert document["provenance"]["source"] == "a test"
    assert document["provenance"]["version"] == 1


def test_what_was_read_can_be_sent_back_and_adds_no_version(store: Store) -> None:
    store.put("accelerators", "acme-1", accelerator())
    before = store.snapshot
    again = store.put("accelerators", "acme-1", before.get("accelerators", "acme-1").document())
    assert again.version == 1
    assert store.snapshot.id == before.id


def test_a_correction_is_a_newer_row_and_the_old_one_stays(store: Store) -> None:
    store.put("regions", "country/ut", region())
    store.put("regions", "country/ut", region(grid_gco2e_per_kwh=90.0), expected=1)
    assert store.snapshot.get("regions", "country/ut").payload.grid_gco2e_per_kwh == 90
    versions = [(row.version, json.loads(row.payload)["grid_gco2e_per_kwh"]) for row in rows(store)]
    assert versions == [(1, 100.0), (2, 90.0)]


def rows(store: Store) -> list:
    fresh = Store(store.engine.url.render_as_string(hide_password=False))
    found = list(fresh.refresh().rows())
    fresh.close()
    return found


def test_a_removed_fact_is_gone_but_its_history_and_version_count_go_on(store: Store) -> None:
    store.put("regions", "country/ut", region())
    store.delete("regions", "country/ut", expected=1, reason="sank")
    with pytest.raises(UnknownName):
        store.snapshot.get("regions", "country/ut")
    with pytest.raises(UnknownName):
        store.delete("regions", "country/ut")
    assert store.put("regions", "country/ut", region(), expected=0).version == 3
    assert [row.deleted for row in rows(store)] == [False, True, False]


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_a_writer_that_saw_another_version_is_refused(store: Store, expected: int) -> None:
    store.put("regions", "country/ut", region())
    before = store.snapshot.id
    with pytest.raises(VersionConflict) as refused:
        store.put("regions", "country/ut", region(grid_year=2025), expected=expected)
    assert (refused.value.expected, refused.value.current) == (expected, 1)
    with pytest.raises(VersionConflict):
        store.delete("regions", "country/ut", expected=expected)
    assert store.refresh().id == before


def test_of_two_writers_on_one_row_one_wins(store: Store) -> None:
    store.put("regions", "country/ut", region())

    def change(value: float) -> bool:
        try:
            store.put("regions", "country/ut", region(grid_gco2e_per_kwh=value), expected=1)
        except VersionConflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(change, (50.0, 60.0)))
    assert sorted(won) == [False, True]
    kept = store.refresh().get("regions", "country/ut").payload.grid_gco2e_per_kwh
    assert kept == (50.0, 60.0)[won.index(True)]


def test_fifty_concurrent_writers_lose_no_acknowledged_write(store: Store) -> None:
    def write(number: int) -> int:
        own = store.put("regions", f"country/u{number}", region(title=f"U{number}"))
        shared = store.put("regions", "shared", region(grid_gco2e_per_kwh=100.0 + number))
        assert own.version == 1
        return shared.version

    with ThreadPoolExecutor(WRITERS) as pool:
        shared = list(pool.map(write, range(WRITERS)))
    assert sorted(shared) == list(range(1, WRITERS + 1))
    fresh = rows(store)
    assert len(fresh) == 2 * WRITERS
    assert [row.revision for row in fresh] == list(range(1, 2 * WRITERS + 1))
    assert len({(row.name, row.version) for row in fresh}) == 2 * WRITERS
    assert len({row.name for row in fresh}) == WRITERS + 1


def test_every_process_gets_the_same_catalog_whatever_it_read_when(store: Store) -> None:
    for year in (2020, 2021, 2022):
        store.put("regions", "country/ut", region(grid_year=year))
    fresh = Store(store.engine.url.render_as_string(hide_password=False))
    assert fresh.refresh().id == store.snapshot.id
    fresh.close()


FOLLOWER = """
import sys, time
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store
store = Store(sys.argv[1], poll_seconds=0.05)
store.refresh()
store.follow()
print("ready", flush=True)
while store.snapshot.find("regions", "country/ut") is None:
    time.sleep(0.01)
print(store.snapshot.id, flush=True)
store.close()
"""


def test_another_process_sees_a_change_without_being_told(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, url], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "ready"
        store.put("regions", "country/ut", region())
        assert other.stdout.readline().strip() == store.snapshot.id
        assert other.wait(30) == 0


def test_as_of_a_day_answers_the_same_bytes_after_newer_facts_are_added(store: Store) -> None:
    store.put("regions", "country/ut", region())
    store.put("accelerators", "acme-1", accelerator())
    predate(store, days=3)
    today = datetime.now(UTC).date()
    before = documents(store, today - timedelta(days=1))
    store.put("regions", "country/ut", region(grid_gco2e_per_kwh=1.5))
    store.delete("accelerators", "acme-1")
    store.put("accelerators", "acme-2", accelerator(title="Two"))
    assert documents(store, today - timedelta(days=1)) == before
    assert documents(store, today) == before
    fresh = Store(store.engine.url.render_as_string(hide_password=False))
    fresh.refresh()
    assert documents(fresh, today) == before
    fresh.close()


def predate(store: Store, days: int) -> None:
    """Make what is in the store as old as if it had been written days ago."""
    moment = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with writing(store.engine) as connection:
        connection.execute(update(facts).values(recorded_at=moment))
        connection.execute(update(state).values(recorded_at=moment))
    store._snapshot = None
    store.refresh()


def documents(store: Store, day: date) -> bytes:
    snapshot = store.snapshot.as_of(day)
    found = [fact.document() for kind in snapshot.shelves for fact in snapshot.facts(kind)]
    return json.dumps([snapshot.id, found]).encode()


def test_as_of_reaches_neither_before_the_catalog_nor_into_the_future(store: Store) -> None:
    store.put("regions", "country/ut", region())
    today = datetime.now(UTC).date()
    for day in (today, today + timedelta(days=1), date(2001, 1, 1)):
        with pytest.raises(BeforeTheCatalog):
            store.snapshot.as_of(day)


def test_time_never_runs_backwards_between_writers_with_unlike_clocks(store: Store) -> None:
    ahead = "2099-01-01T00:00:00.000000Z"
    with writing(store.engine) as connection:
        connection.execute(update(state).values(recorded_at=ahead))
    assert store.put("regions", "country/ut", region()).recorded_at == ahead


def test_an_alias_belongs_to_one_fact(store: Store) -> None:
    store.put("regions", "country/ut", region(aliases=["ut"]))
    for name, alias in (("country/un", "ut"), ("country/un", "country/ut")):
        with pytest.raises(InvalidFact) as refused:
            store.put("regions", name, region(aliases=["free", alias]))
        assert refused.value.problems[0].pointer == "/aliases/1"
    store.put("regions", "country/ut", region(aliases=["ut", "utopia"]))


def test_a_price_names_an_accelerator_that_the_catalog_holds(store: Store) -> None:
    store.put("accelerators", "acme-1", accelerator())
    with pytest.raises(InvalidFact, match="did you mean acme-1"):
        store.put("prices", "acme/any", price(accelerator="acme-l"))
    assert store.put("prices", "acme/any", price()).version == 1


def test_a_kind_that_there_is_not_is_named(store: Store) -> None:
    with pytest.raises(UnknownKind, match="unicorns"):
        store.put("unicorns", "one", {})


def test_seeding_twice_changes_nothing_and_leaves_a_users_correction(store: Store) -> None:
    store.seed()
    corrected = store.snapshot.get("accelerators", "h100-sxm").document() | {"tdp_watts": 650}
    store.put("accelerators", "h100-sxm", corrected)
    store.delete("accelerators", "t4")
    before = store.snapshot.id
    store.seed()
    assert store.refresh().id == before
    with writing(store.engine) as connection:  # as if an older release had seeded
        connection.execute(update(state).values(seed="older"))
    store.seed()
    assert store.refresh().get("accelerators", "h100-sxm").payload.tdp_watts == 650
    assert store.snapshot.find("accelerators", "t4") is None
    assert store.snapshot.id == before


def test_a_newer_seed_corrects_what_only_the_seed_wrote(store: Store) -> None:
    store.seed()
    original = store.snapshot.get("accelerators", "t4").document()
    store.put("accelerators", "t4", original | {"tdp_watts": 71}, by="seed")
    with writing(store.engine) as connection:
        connection.execute(update(state).values(seed="older"))
    store.seed()
    fact = store.snapshot.get("accelerators", "t4")
    assert (fact.version, fact.payload.tdp_watts) == (3, original["tdp_watts"])


def test_a_fact_that_a_newer_program_wrote_hides_no_other(store: Store) -> None:
    store.put("regions", "country/ut", region(aliases=["ut"]))
    store.put("regions", "country/un", region(aliases=["un"]))
    newer = json.dumps({"title": "U", "field_of_the_future": 1})
    with writing(store.engine) as connection:
        connection.execute(update(facts).where(facts.c.name == "country/un").values(payload=newer))
    fresh = Store(store.engine.url.render_as_string(hide_password=False))
    snapshot = fresh.refresh()
    assert snapshot.get("regions", "ut").name == "country/ut"
    assert snapshot.find("regions", "country/un") is None
    assert [fact.name for fact in snapshot.facts("regions")] == ["country/ut"]
    assert fresh.put("regions", "country/un", region(), expected=1).version == 2
    fresh.close()


def test_text_that_no_database_can_hold_is_refused_as_such(store: Store) -> None:
    for change, pointer in (
        ({"provenance": PROVENANCE | {"source": "a\x00b"}}, "/provenance/source"),
        ({"provenance": PROVENANCE | {"note": "\x00"}}, "/provenance/note"),
        ({"quantities": {"model": "\ud800"}}, ""),
        ({"quantities": {"parameters": 10**5000}}, ""),
    ):
        claim = {"statement": "A is 7 B", "quantities": {"a": 1}, "published": "here"}
        document = claim | {"provenance": PROVENANCE} | change
        with pytest.raises(InvalidFact) as refused:
            store.put("claims", "a-claim", document)
        assert refused.value.problems[0].pointer == pointer
    nul = {"statement": "A is \x00", "quantities": {"a": "\x00"}, "published": "here"}
    store.put("claims", "nul", nul | {"provenance": PROVENANCE})
    assert store.refresh().get("claims", "nul").payload.quantities == {"a": "\x00"}


def test_a_writer_gets_its_own_version_back_though_another_wrote_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store(store.engine.url.render_as_string(hide_password=False))
    adopt = store._adopt

    def adopt_after_another(snapshot: Snapshot) -> Snapshot:
        monkeypatch.undo()
        other.put("regions", "country/ut", region(grid_year=2030))
        store.refresh()
        return adopt(snapshot)

    monkeypatch.setattr(store, "_adopt", adopt_after_another)
    written = store.put("regions", "country/ut", region(grid_year=2020))
    assert (written.version, written.payload.grid_year) == (1, 2020)
    assert store.snapshot.get("regions", "country/ut").payload.grid_year == 2030
    other.close()
