"""Verbs that run the service."""

from __future__ import annotations

import argparse
import json
import sys

from service import settings


def serve(found: settings.Settings, _: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from service.api.app import create_app
    from service.api.logs import configure
    from service.cli import draining
    from service.web import pages

    configure(found.log_level)
    return draining.serve(
        pages.install(create_app(found)),
        host=found.host,
        port=found.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=found.shutdown_seconds,
    )


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
