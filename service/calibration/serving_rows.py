"""The measured serving rows (`data/serving.csv`), each with what the model needs to predict it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from service.calibration import reference
from service.core.hardware import Device, generation
from service.core.numeric import Number, ceil, maximum, minimum, where
from service.core.serving import Engine, Replica, ServingTable, compute_format, memory, speed, table
from service.core.serving.calibration import eagerness
from service.core.serving.tables import format_class

QUANTITIES: Mapping[str, str] = {
    "seconds_per_output_token": "decode",
    "prefill_seconds": "prefill",
    "request_seconds_per_output_token": "request",
    "saturated_output_tokens_per_second": "saturated",
}
"""What is fitted, by the metric of the row."""
FIRST_TOKEN = "loaded_first_token_seconds"


@dataclass(frozen=True)
class Row:
    """One measured point, as a time in seconds."""

    source: str
    use: str
    """`fit`; `check` for rows that are never fitted, whose errors inform intervals all the same;
    `shown` for those that do neither."""
    model: str
    accelerator: str
    engine: str
    weights: str
    quantity: str
    observed: float
    """Seconds; of a saturated replica, seconds between any two of its output tokens."""
    table: ServingTable
    replica: Replica
    device: Device

    @property
    def pair(self) -> str:
        """The accelerator with the engine."""
        return f"{self.accelerator} {self.engine}"

    @property
    def generation(self) -> str:
        """The generation of the accelerator."""
        return generation(self.accelerator)

    @property
    def eager(self) -> float:
        """1 where the engine launches each kernel from Python."""
        return eagerness(self.engine)

    @property
    def kernels(self) -> str:
        """The engine's kernels for this class of weight formats."""
        return f"{self.engine} {format_class(self.weights)}"


def rows() -> Sequence[Row]:
    """The rows of the four quantities, without those that the file marks as not used."""
    return [_row(r, QUANTITIES[r["metric"]]) for r in _records() if r["metric"] in QUANTITIES]


def first_token_rows() -> Sequence[Row]:
    """Times to the first token that are fitted: all sequences of the load are in flight at once."""
    found = ((r, _row(r, "first_token")) for r in _records() if r["metric"] == FIRST_TOKEN)
    return [
        row
        for record, row in found
        if row.use == "fit" and row.replica.batch == float(record["concurrency"])
    ]


def _records() -> Sequence[Mapping[str, str]]:
    text = files("service.calibration").joinpath("data/serving.csv").read_text("utf-8")
    records = csv.DictReader(text.splitlines())
    return [record for record in records if not record["use"].startswith("not used")]


def _row(record: Mapping[str, str], quantity: str) -> Row:
    network = reference.network(record["model"])
    accelerator = reference.accelerator(record["accelerator"])
    folded = table(network, record["weights"], record["cache"])
    device = accelerator.device(compute_format(record["weights"]))
    value = float(record["value"])
    return Row(
        record["source"],
        record["use"].split(":")[0],
        record["model"],
        record["accelerator"],
        record["engine"],
        record["weights"],
        quantity,
        1.0 / value if quantity == "saturated" else value,
        folded,
        _replica(record, folded, device),
        device,
    )


def _replica(record: Mapping[str, str], folded: ServingTable, device: Device) -> Replica:
    """The load as measured; in flight is what was asked, or what the memory holds if less.

    A saturated run of more requests than the memory holds takes them in waves, of which the last
    is not full: their mean is in flight.
    """
    rule = memory.budget(record["engine"])
    data = float(record["data"])
    asked = Replica(
        float(record["tensor"]),
        float(record["pipeline"]),
        float(record["concurrency"] or rule.sequences * data),
        float(record["prompt_tokens"] or 0),
        max(float(record["output_tokens"] or 1), 1.0),
        data=data,
    )
    length = asked.prompt_tokens + asked.output_tokens
    fitting = memory.max_concurrency(folded, asked, device, rule, length)
    held = maximum(minimum(asked.batch, fitting), 1.0)
    if QUANTITIES.get(record["metric"]) == "saturated":
        held = asked.batch / ceil(asked.batch / held)
    return replace(asked, batch=held)


def predicted(
    tables: ServingTable,
    replica: Replica,
    device: Device,
    engine: Engine,
    quantity: Number,
) -> Number:
    """The model's seconds; `quantity` as an index into QUANTITIES' values. Floats or arrays."""
    step = speed.seconds_per_step(tables, replica, device, engine)
    prompt = speed.prefill_seconds(tables, replica, device, engine)
    request = step + prompt / replica.output_tokens
    loaded = where(quantity == 3, step / replica.batch, where(quantity == 2, request, step))
    return where(quantity == 1, prompt, loaded)
