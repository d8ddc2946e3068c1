"""The back-test of every fit: predictions of rows that the fit had not seen, beside what was seen.

`python -m service.calibration.backtest` prints the table and writes `data/accuracy.csv`, which the
service answers `GET /accuracy` from. Fits are repeated without the rows that are judged, so it
takes minutes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from functools import cache
from importlib.resources import files
from pathlib import Path

from service.calibration.rows import BacktestRow, summary, table

RECORD = Path(str(files("service.calibration").joinpath("data/accuracy.csv")))
_COLUMNS = tuple(field.name for field in fields(BacktestRow) if field.name != "cluster")


def run() -> list[BacktestRow]:
    """Every row of every fit."""
    from service.calibration import (
        energy,
        memory,
        serving,
        serving_encoders,
        serving_memory,
        throughput,
    )

    modules = (memory, throughput, energy, serving, serving_memory, serving_encoders)
    return [row for module in modules for row in module.backtest()]


def write(rows: Sequence[BacktestRow], path: Path = RECORD) -> None:
    """Write the record; figures to six digits."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            values = astuple(row)[: len(_COLUMNS)]
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)


@cache
def recorded(path: Path = RECORD) -> tuple[BacktestRow, ...]:
    """The rows of the record."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(record) for record in csv.DictReader(file))


def _row(record: dict[str, str]) -> BacktestRow:
    return BacktestRow(
        record["source"],
        record["quantity"],
        record["case"],
        float(record["observed"]),
        float(record["value"]),
        float(record["low"]),
        float(record["high"]),
        record["set_aside"] == "True",
        record["family"],
        record["accelerator"],
    )


def main() -> None:
    """Run, write and print; serving by pair; what a cluster's runs add."""
    from service.calibration import cluster, serving

    rows = run()
    write(rows)
    print(table(summary(rows, lambda row: f"{row.quantity}: {row.source}")), end="\n\n")
    served = [row for row in rows if row.source.startswith(serving.SOURCE)]
    print(table(summary(served, serving.pair_and_what_was_left_out)), end="\n\n")
    cluster.main()


if __name__ == "__main__":
    main()
