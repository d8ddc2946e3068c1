"""The command line: `python -m service [verb]`. Without a verb it serves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from service import __version__, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        found = settings.from_environment()
        if options.verb == "migrate":
            return migrate(found)
        return serve(found)
    except settings.SettingsError as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<34}{default}" for name, default in settings.variables()]
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="What a machine-learning model will need, before it is run.",
        epilog="\n".join(["settings, from the environment, with their defaults:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="verb")
    verbs.add_parser("serve", help="serve the API (the default)")
    verbs.add_parser("migrate", help="bring the database to this program's schema and facts")
    return parser


def serve(found: settings.Settings) -> int:
    """Serve until told to stop."""
    import uvicorn

    from service.api.app import create_app
    from service.api.logs import configure
    from service.web import pages

    configure(found.log_level)
    uvicorn.run(
        pages.install(create_app(found)),
        host=found.host,
        port=found.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=found.shutdown_seconds,
    )
    return 0


def migrate(found: settings.Settings) -> int:
    """Migrate and seed the database."""
    from service.catalog.errors import StoreUnavailable
    from service.catalog.store import Store

    store = Store(found.database_url)
    try:
        store.migrate()
        store.seed()
    except StoreUnavailable as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0
