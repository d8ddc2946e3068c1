"""Verbs that trace architectures, fit coefficients and judge the fits."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from service import settings
from service.cli.progress import bar

FITS = ("energy", "memory", "throughput", "serving")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe trace, calibrate and backtest."""
    traced = verbs.add_parser(
        "trace", help="print the layers document of any config.json (needs torch and transformers)"
    )
    traced.add_argument("config", help="a config.json, or - for standard input")
    fits = verbs.add_parser("calibrate", help="fit the coefficients anew on the measured runs")
    fits.add_argument("quantity", nargs="*", choices=[*FITS, []], help=", ".join(FITS))
    verbs.add_parser("backtest", help="judge every fit on rows that it had not seen")


def trace(_: settings.Settings, options: argparse.Namespace) -> int:
    """Print the document that `model.kind = layers` accepts."""
    from service.trace import TraceError
    from service.trace import trace as traced

    text = sys.stdin.read() if options.config == "-" else Path(options.config).read_text("utf-8")
    try:
        document = traced(json.loads(text))
    except (TraceError, ValueError) as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 1
    for note in document.pop("notes"):
        print(f"note: {note}", file=sys.stderr)
    print(f"{document.pop('parameters'):,} parameters", file=sys.stderr)
    print(json.dumps(document, indent=1))
    return 0


def calibrate(_: settings.Settings, options: argparse.Namespace) -> int:
    """Fit and write the calibration files."""
    names = options.quantity or FITS
    drawn = bar("fits")
    for number, name in enumerate(names):
        drawn(number, len(names))
        importlib.import_module(f"service.calibration.{name}").main()
    drawn(len(names), len(names))
    return 0


def backtest(_: settings.Settings, __: argparse.Namespace) -> int:
    """Judge every fit, print the table and write the record."""
    from service.calibration import backtest as judged

    judged.main()
    return 0
