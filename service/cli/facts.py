"""Verbs that move facts in and out of the catalog."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service import settings
from service.cli.progress import bar


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe import and export."""
    text = "write the rows of a CSV or JSON file as facts of a kind"
    bring = verbs.add_parser("import", help=text)
    bring.add_argument("kind", help="models, accelerators, regions, prices or claims")
    bring.add_argument("file", type=Path)
    bring.add_argument("--dry-run", action="store_true", help="report row by row, write nothing")
    give = verbs.add_parser("export", help="print the facts of a kind as CSV or JSON")
    give.add_argument("kind")
    give.add_argument("--json", action="store_true")


def bring_in(found: settings.Settings, options: argparse.Namespace) -> int:
    """Import a file; a wrong row is named by its line, and then nothing is written."""
    from service.catalog.errors import CatalogError
    from service.catalog.store import Store
    from service.catalog.transfer import Form, ImportRefused, import_text

    form: Form = "json" if options.file.suffix == ".json" else "csv"
    store = Store(found.database_url)
    try:
        store.migrate()
        store.seed()
        store.refresh()
        text = options.file.read_text("utf-8")
        report = import_text(
            store, options.kind, text, form, dry_run=options.dry_run, progress=bar("rows")
        )
    except ImportRefused as error:
        report = error.report
    except CatalogError as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()
    for outcome in report.invalid:
        print(f"line {outcome.line}: {outcome.name}: {outcome.problems}", file=sys.stderr)
    verb = "would be written" if options.dry_run else "written"
    total = len(report.outcomes)
    print(f"{total} rows read, {len(report.invalid)} wrong; " + (verb if not report.invalid else
          "nothing written"))  # fmt: skip
    return 2 if report.invalid else 0


def give_out(found: settings.Settings, options: argparse.Namespace) -> int:
    """Print the facts that stand."""
    from service.catalog.errors import CatalogError
    from service.catalog.store import Store
    from service.catalog.transfer import Form, export_text

    store = Store(found.database_url)
    try:
        store.migrate()
        store.seed()
        store.refresh()
        form: Form = "json" if options.json else "csv"
        for piece in export_text(store.snapshot, options.kind, form):
            sys.stdout.write(piece)
    except CatalogError as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0
