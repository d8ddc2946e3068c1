"""Verbs that move facts in and out of the catalog."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from service import settings
from service.cli.asking import KEY, authorization, sent
from service.cli.progress import bar


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe import and export."""
    text = "write the rows of a CSV or JSON file as facts of a kind"
    epilog = f"{KEY} holds the secret that is sent with --server."
    bring = verbs.add_parser("import", help=text, epilog=epilog)
    bring.add_argument("kind", help="models, accelerators, regions, prices or claims")
    bring.add_argument("file", type=Path)
    bring.add_argument("--dry-run", action="store_true", help="report row by row, write nothing")
    bring.add_argument("--server", metavar="URL", help="write to the catalog of this server")
    give = verbs.add_parser("export", help="print the facts of a kind as CSV or JSON")
    give.add_argument("kind")
    give.add_argument("--json", action="store_true")


def bring_in(found: settings.Settings, options: argparse.Namespace) -> int:
    """Import a file; a wrong row is named by its line, and then nothing is written."""
    return _sent(options) if options.server else _imported(found, options)


def _sent(options: argparse.Namespace) -> int:
    """Have a server import the file."""
    media = "application/json" if options.file.suffix == ".json" else "text/csv"
    wish = f"?dry_run={str(options.dry_run).lower()}"
    url = f"{options.server.rstrip('/')}/import/{quote(options.kind, safe='')}{wish}"
    headers = {"Content-Type": media, **authorization()}
    status, answer = sent("POST", url, options.file.read_bytes(), headers)
    document = json.loads(answer)
    if status == 200:
        wrong = [row for row in document["rows"] if row["action"] == "invalid"]
        lines = [f"line {row['line']}: {row['name']}: {row['problems']}" for row in wrong]
        total = sum(document[name] for name in ("created", "updated", "unchanged", "invalid"))
        return _told(lines, total, document["invalid"], options.dry_run)
    print(f"model-sizing: {document['detail']}", file=sys.stderr)
    for error in document.get("errors") or ():
        print(error["detail"], file=sys.stderr)
    return 2 if status < 500 else 1


def _told(lines: Sequence[str], total: int, wrong: int, dry_run: bool) -> int:
    """Say what an import did; the exit status."""
    for line in lines:
        print(line, file=sys.stderr)
    verb = "nothing written" if wrong else "would be written" if dry_run else "written"
    print(f"{total} rows read, {wrong} wrong; {verb}")
    return 2 if wrong else 0


def _imported(found: settings.Settings, options: argparse.Namespace) -> int:
    from service.catalog.errors import CatalogError
    from service.catalog.reports import ImportRefused
    from service.catalog.store import Store
    from service.catalog.texts import Form
    from service.catalog.transfer import import_text

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
    lines = [f"line {o.line}: {o.name}: {o.problems}" for o in report.invalid]
    return _told(lines, len(report.outcomes), len(lines), options.dry_run)


def give_out(found: settings.Settings, options: argparse.Namespace) -> int:
    """Print the facts that stand."""
    from service.catalog.errors import CatalogError
    from service.catalog.store import Store
    from service.catalog.texts import Form, export_text

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
