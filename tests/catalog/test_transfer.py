"""Import and export in bulk."""

from __future__ import annotations

import json

import pytest

from service.catalog.errors import UnknownKind
from service.catalog.reports import ImportRefused
from service.catalog.snapshot import Snapshot
from service.catalog.store import Store
from service.catalog.texts import Form, export_text, parse
from service.catalog.transfer import import_text
from tests.catalog.documents import accelerator, region

HEADER = "name,provider,accelerator,accelerator_count,term,usd_per_device_hour,source,licence\n"
MANY = 10_000


def lines(count: int) -> str:
    """A price list."""
    rows = (f"acme/r{n},acme,acme-1,8,spot,{1 + n / count},list,CC0-1.0\n" for n in range(count))
    return HEADER + "".join(rows)


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize(
    "kind", ["models", "accelerators", "regions", "prices", "claims", "reports"]
)
def test_what_is_exported_imports_without_a_change(
    store: Store, seeded: Snapshot, kind: str, form: Form
) -> None:
    if kind == "prices":
        text = "".join(export_text(seeded, "accelerators", "json"))
        import_text(store, "accelerators", text, "json")
    text = "".join(export_text(seeded, kind, form))
    report = import_text(store, kind, text, form)
    assert report.count("create") == len(report.outcomes) == len(list(seeded.facts(kind)))
    for fact in seeded.facts(kind):
        assert store.snapshot.get(kind, fact.name).payload == fact.payload
        assert store.snapshot.get(kind, fact.name).provenance == fact.provenance
    before = store.snapshot.id
    again = import_text(store, kind, "".join(export_text(store.snapshot, kind, form)), form)
    assert again.count("unchanged") == len(again.outcomes)
    assert store.refresh().id == before


@pytest.mark.parametrize("text", ["{}", "3", '{"items": {}}', "\0", "[1,"])
def test_what_holds_no_rows_is_refused_by_a_dry_run_too(store: Store, text: str) -> None:
    with pytest.raises(ImportRefused, match=r"must be a list|is not JSON"):
        import_text(store, "regions", text, "json", dry_run=True)


def test_a_dry_run_tells_each_row_and_changes_nothing(store: Store) -> None:
    store.put("regions", "country/ut", region())
    before = store.snapshot.id
    changed = region(name="country/ut", grid_year=2025)
    new = region(name="country/un")
    same = region(name="country/ut")
    report = import_text(store, "regions", json.dumps([changed, new]), "json", dry_run=True)
    assert [(row.line, row.name, row.action) for row in report.outcomes] == [
        (1, "country/ut", "update"),
        (2, "country/un", "create"),
    ]
    report = import_text(store, "regions", json.dumps({"items": [same]}), "json", dry_run=True)
    assert [row.action for row in report.outcomes] == ["unchanged"]
    assert store.refresh().id == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_bad_row_is_named_by_line_and_nothing_is_written(store: Store, dry_run: bool) -> None:
    store.put("accelerators", "acme-1", accelerator())
    before = store.snapshot.id
    text = (
        HEADER
        + "acme/1,acme,acme-1,8,on-demand,2.5,list,CC0-1.0\n"
        + 'acme/2,acme,acme-1,8,on-demand,700,"a source\nof two lines",CC0-1.0\n'
        + "acme/3,acme,acme-2,8,on-demand,2.5,list,CC0-1.0\n"
        + "acme/1,acme,acme-1,8,on-demand,2.6,list,CC0-1.0\n"
        + "acme/4,acme,acme-1\n"
        + "acme/5,acme,acme-1,8,on-demand,,list,CC0-1.0\n"
    )
    wrong = {
        3: "/usd_per_device_hour",
        5: "/accelerator",
        6: "/name",
        7: "",
        8: "/usd_per_device_hour",
    }
    if dry_run:
        report = import_text(store, "prices", text, dry_run=True)
    else:
        with pytest.raises(ImportRefused, match=r"5 of 6 rows .* the first is line 3") as refused:
            import_text(store, "prices", text)
        report = refused.value.report
    assert {row.line: row.problems[0].pointer for row in report.invalid} == wrong
    assert report.outcomes[0].action == "create"
    assert store.refresh().id == before


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", "[{]"),
        ("json", "7"),
        ("json", '{"facts": []}'),
        ("json", "[7]"),
        ("json", "[" * 100_000),
        ("csv", HEADER + '"never closed'),
        ("csv", "name,aliases\nx,[1\n"),
        ("csv", "name,name\nx,y\n"),
    ],
)
def test_a_text_that_cannot_be_read_is_an_invalid_row(form: Form, text: str) -> None:
    found = list(parse("accelerators", text, form))
    assert len(found) == 1
    assert found[0].problems


def test_an_empty_text_holds_no_rows() -> None:
    assert list(parse("prices", "", "csv")) == []
    assert list(parse("prices", HEADER, "csv")) == []
    assert list(parse("prices", "[]", "json")) == []


def test_a_kind_that_there_is_not_cannot_be_imported() -> None:
    with pytest.raises(UnknownKind):
        list(parse("unicorns", "", "csv"))


def test_a_large_price_list_imports_as_one_revision_with_progress(store: Store) -> None:
    store.put("accelerators", "acme-1", accelerator())
    revision = store.snapshot.revision
    calls: list[tuple[int, int]] = []
    report = import_text(
        store, "prices", lines(MANY), progress=lambda done, total: calls.append((done, total))
    )
    assert report.count("create") == MANY
    assert calls[-1] == (MANY, MANY)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert len(calls) > 1
    assert store.snapshot.revision == revision + 1
    assert len(store.snapshot.shelves["prices"].rows) == MANY


@pytest.mark.soak
def test_a_hundred_thousand_prices_with_one_bad_row_name_it_and_change_nothing(
    store: Store,
) -> None:
    store.put("accelerators", "acme-1", accelerator())
    before = store.snapshot.id
    good = lines(100_000)
    bad = good.replace("acme/r77775,acme,acme-1,8", "acme/r77775,acme,acme-1,0")
    report = import_text(store, "prices", bad, dry_run=True)
    (wrong,) = report.invalid
    assert (wrong.line, wrong.problems[0].pointer) == (77_777, "/accelerator_count")
    assert report.count("create") == 99_999
    with pytest.raises(ImportRefused, match=r"1 of 100000 rows .* the first is line 77777"):
        import_text(store, "prices", bad)
    assert store.refresh().id == before
    assert import_text(store, "prices", good).count("create") == 100_000
