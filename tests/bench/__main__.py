"""Run every `bench_*.py` beside this file, or those whose names are given, and print the figures.

A benchmark module has `run()`, which yields (what was measured, the figure, its unit).
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(wanted: list[str]) -> None:
    """Run the benchmarks whose names hold one of the words, all of them without words."""
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if wanted and not any(word in name for word in wanted):
            continue
        print(f"{name}:")
        for what, figure, unit in importlib.import_module(f"tests.bench.{path.stem}").run():
            print(f"  {what:<62}{figure:>14,.3f} {unit}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
