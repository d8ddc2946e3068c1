"""The command line: `python -m service [verb]`. Without a verb it serves.

Exit status: 0 done (an estimated job fits), 3 the job is at risk, 4 it does not fit, 2 the request
or the settings are wrong, 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from service import __version__, settings
from service.catalog.errors import UnusableUrl
from service.cli import asking, facts, fitting, measuring, running

Verb = Callable[[settings.Settings, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        found = settings.from_environment()
        return _VERBS[options.verb or "serve"](found, options)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (settings.SettingsError, UnusableUrl, OSError) as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 1


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
    verbs.add_parser("serve", help="serve the API and the pages (the default)")
    verbs.add_parser("migrate", help="bring the database to this program's schema and facts")
    verbs.add_parser("openapi", help="print the OpenAPI document")
    asking.add(verbs)
    facts.add(verbs)
    fitting.add(verbs)
    measuring.add(verbs)
    return parser


_VERBS: Mapping[str, Verb] = {
    "serve": running.serve,
    "migrate": running.migrate,
    "openapi": running.openapi,
    **dict.fromkeys(asking.QUESTIONS, asking.ask),
    "import": facts.bring_in,
    "export": facts.give_out,
    "trace": fitting.trace,
    "calibrate": fitting.calibrate,
    "backtest": fitting.backtest,
    "measure": measuring.measure,
}
