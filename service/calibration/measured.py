"""Measured training jobs: what one is, and what the readers of all sources share."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from service.core.architecture.families import registry, shapes
from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.parallelism import Kernels

DATA = Path(__file__).parent / "data"
SEED = Path(__file__).parents[1] / "catalog" / "seed"

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Job:
    """A measured job; each row is its own, even where two say the same."""

    source: str
    case: str
    network: Network
    kernels: Kernels
    layout: Mapping[str, float]
    """Fields of Layout."""
    accelerator: str
    sequence_length: float
    step_seconds: float
    """As measured."""
    site: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Accelerator that the site's nodes and network have otherwise than the catalog."""

    @property
    def hardware(self) -> Accelerator:
        """The accelerator as it stands at the site."""
        return replace(accelerator(self.accelerator), **self.site)


def read(name: str) -> Iterator[dict[str, str]]:
    """The rows of a data file."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@cache
def _shipped(kind: str) -> Mapping[str, Any]:
    items = json.loads((SEED / f"{kind}.json").read_text("utf-8"))
    return {name: item for item in items for name in (item["name"], *item.get("aliases", ()))}


@cache
def accelerator(name: str) -> Accelerator:
    """An accelerator that the catalog ships."""
    facts = _shipped("accelerators")[name]
    embodied = facts["embodied_kgco2e"]
    return Accelerator(
        facts["name"],
        facts["vendor"],
        facts["release_year"],
        facts["memory_bytes"],
        facts["memory_bandwidth_bytes_per_second"],
        facts["peak_flops"],
        facts["scale_up_bandwidth_bytes_per_second"],
        facts["scale_out_bandwidth_bytes_per_second"],
        facts["devices_per_node"],
        facts["tdp_watts"],
        facts["idle_watts"],
        (embodied["low"], embodied["central"], embodied["high"]),
    )


@cache
def network(name: str, **changes: int) -> Network:
    """A model that the catalog ships, with some fields of its configuration changed."""
    config = _shipped("models")[name]["architecture"]["config"]
    return registry.build({**config, **changes})


def number(text: str) -> float | None:
    """A number; None where the cell has none."""
    return float(text) if text not in ("", "N/A") else None


def degrees_of(text: str) -> dict[str, float]:
    """The degrees that a row's `parallelism` names, by the field's short name."""
    found = re.findall(r"(TP|PP|DP|CP|EP|VP|FSDP|tp|zero1|ZeRO-1 group)=(-?\d+)", text)
    return {name.lower(): float(value) for name, value in found}


def layout_of(row: Row, degrees: Mapping[str, float], **changes: float) -> dict[str, float] | None:
    """Fields of Layout; None where devices and degrees do not go together."""
    devices = number(row["n_gpus"])
    if devices is None:
        return None
    tensor = degrees.get("tp", 1.0)
    layout = {
        "devices": devices,
        "tensor": tensor,
        "pipeline": degrees.get("pp", 1.0),
        "context": degrees.get("cp", 1.0),
        "expert": degrees.get("ep", 1.0),
        "interleave": degrees.get("vp", 1.0),
        "micro_batch_size": number(row["micro_batch"]) or 1.0,
        "global_batch_size": number(row["global_batch"]) or 0.0,
    } | changes
    data = devices / (tensor * layout["pipeline"] * layout["context"])
    if not layout["global_batch_size"]:
        layout["global_batch_size"] = (
            (number(row["grad_accum"]) or 1.0) * layout["micro_batch_size"] * data
        )
    return layout if data >= 1 and data == int(data) else None


def recomputation_of(row: Row) -> str:
    """What the row's `activation_ckpt` means."""
    text = row["activation_ckpt"]
    if "full" in text:
        return "full"
    return "selective" if "selective" in text else "none"


def seconds_of(row: Row, layout: Mapping[str, float], sequence_length: float) -> float | None:
    """Step time as printed, or from tokens per second."""
    printed, tokens = number(row["step_time_s"]), number(row["tokens_per_sec_per_gpu"])
    if printed is not None:
        return printed
    if tokens is None:
        return None
    return layout["global_batch_size"] * sequence_length / (tokens * layout["devices"])


def job_of(
    row: Row,
    source: str,
    net: Network,
    kernels: Kernels,
    device: str,
    layout: Mapping[str, float] | None,
    seconds: float | None,
) -> Job | None:
    """The job of a row; None where its layout or time is not known."""
    if layout is None or not seconds:
        return None
    case = " ".join((row["model"], row["n_gpus"], row["parallelism"], row["seq_len"]))
    length = float(row["seq_len"] or 0)
    return Job(source, case, net, kernels, layout, device, length, seconds)


def gpt_of(row: Row, **changes: Any) -> Network | None:
    """The GPT shape of a row; None where its sizes are not given."""
    layers, hidden, heads = (number(row[name]) for name in ("layers", "d_model", "heads"))
    if layers is None or hidden is None:
        return None
    options = {"vocabulary": int(row["vocab"] or 51200), "positions": int(row["seq_len"])} | changes
    width = number(row["d_ff"])
    return shapes.gpt(
        int(layers), int(hidden), int(heads or hidden // 128),
        intermediate=int(width) if width else None, **options,
    )  # fmt: skip


def megatron_flops(row: Row, layout: Mapping[str, float], passes: float) -> float:
    """FLOPs of a step by Narayanan et al. 2021, equation 3: full attention, `passes` of 24."""
    batch, length = layout["global_batch_size"], float(row["seq_len"])
    layers, hidden, vocabulary = (float(row[name]) for name in ("layers", "d_model", "vocab"))
    layer = 24.0 * passes * batch * length * layers * hidden**2 * (1.0 + length / (6.0 * hidden))
    return layer + 6.0 * batch * length * hidden * vocabulary
