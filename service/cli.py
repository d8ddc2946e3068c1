"""The command line: `python -m service [verb]`. Without a verb it serves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service import __version__, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        found = settings.from_environment()
        return _VERBS[options.verb or "serve"](found, options)
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
    verbs.add_parser("openapi", help="print the OpenAPI document")
    for name, text in _QUESTIONS.items():
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("request", help="a file with the JSON request, or - for standard input")
    return parser


def serve(found: settings.Settings, _: argparse.Namespace) -> int:
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


def migrate(found: settings.Settings, _: argparse.Namespace) -> int:
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


def openapi(found: settings.Settings, _: argparse.Namespace) -> int:
    """Print the OpenAPI document."""
    from service.api.app import create_app

    print(json.dumps(create_app(found).openapi(), indent=1))
    return 0


def ask(found: settings.Settings, options: argparse.Namespace) -> int:
    """Answer one request as the API would, without a server."""
    import asyncio

    from service.api.inprocess import answered

    text = sys.stdin.read() if options.request == "-" else Path(options.request).read_text("utf-8")
    status, body = asyncio.run(answered(found, f"/{options.verb}", text.encode()))
    print(json.dumps(json.loads(body), indent=1))
    return 0 if status == 200 else 1


_QUESTIONS = {
    "estimate": "everything that can be said of a job",
    "parameters": "exact parameter counts",
    "memory": "peak memory of one device",
    "training-time": "how long training takes",
    "carbon": "energy and emissions",
    "compute-optimal": "the best size for a budget",
    "layouts": "the best parallel layouts under caps",
    "sweep": "every combination of some fields",
}
_VERBS: Mapping[str, Callable[[settings.Settings, argparse.Namespace], int]] = {
    "serve": serve,
    "migrate": migrate,
    "openapi": openapi,
    **dict.fromkeys(_QUESTIONS, ask),
}
