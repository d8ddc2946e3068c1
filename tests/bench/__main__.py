"""Run every `bench_*.py` beside this file, or those whose names are given, and print the figures.

A benchmark module has `run()`, which yields figures. With `--write`, those that have an aim replace
the table in the README.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.documents import README, replaced


def main() -> None:
    """Run the benchmarks whose names hold one of the words, all of them without words."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true", help="put the figures into the README")
    options = parser.parse_args()
    figures = list(_run(options.words))
    if options.write:
        text = README.read_text(encoding="utf-8")
        README.write_text(replaced(text, "bench", table(figures)), encoding="utf-8")


def _run(wanted: list[str]) -> Iterator[Figure]:
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if wanted and not any(word in name for word in wanted):
            continue
        print(f"{name}:")
        for figure in importlib.import_module(f"tests.bench.{path.stem}").run():
            print(f"  {figure.what:<72}{figure.value:>14,.3f} {figure.unit}", flush=True)
            yield figure


def _short(value: float) -> str:
    """Three figures, and no powers of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """The figures that have a target, as Markdown."""
    rows = [f"| {f.what} | {_short(f.value)} {f.unit} | {f.target} |" for f in figures if f.target]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    head = f"Medians of one run of `make bench` ({machine}):"
    return "\n".join([head, "", "| what | measured | aim |", "| --- | --- | --- |", *rows])


if __name__ == "__main__":
    main()
