"""Device-hours of whole published runs, estimated from what their model cards say.

A card gives the model, its tokens, the accelerator and perhaps how many; the layout is searched,
so the estimate is that of a well-tuned run without interruptions. What runs were billed for over
that is the fitted share `reached`: tuning that falls short, failures, restarts, evaluation.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.calibration.measured import DATA, accelerator, network
from service.calibration.rows import BacktestRow
from service.core import throughput
from service.core.architecture.families import shapes
from service.core.architecture.network import Network
from service.core.layout_choice import best_layout, usual_space
from service.core.layout_space import Question
from service.core.parallelism import Kernels
from service.core.throughput.predictions import tuning

ACCELERATORS = {
    "A100-80GB SXM": "a100-sxm4-80gb",
    "A100-40GB SXM": "a100-sxm4-40gb",
    "H100-80GB SXM": "h100-sxm",
    "H800": "h800-sxm",
    "V100-SXM": "v100-sxm2-32gb",
}
DEFAULT_DEVICES = 1024.0
DEFAULT_BATCH_TOKENS = 4e6
GATED = ("LLaMA", "Llama", "Phi", "SmolLM")


class Run(NamedTuple):
    """A published run, and the hours of the best layout found, without any interruption."""

    case: str
    tier: str
    accelerator: str
    family: str
    hours: float
    ideal_hours: float
    devices: float
    node: bool
    """Whether it ran inside one node."""


def runs() -> list[Run]:
    """The runs whose card says enough."""
    with (DATA / "published_runs.csv").open(encoding="utf-8", newline="") as file:
        found = (_run(row) for row in csv.DictReader(file))
        return [run for run in found if run is not None]


def _run(row: Mapping[str, str]) -> Run | None:
    device = ACCELERATORS.get(row["accelerator"])
    stated = all(row[name] for name in ("gpu_hours", "tokens", "layers", "seq_len"))
    if device is None or not stated or not row["checked"].startswith("yes"):
        return None
    length, devices = float(row["seq_len"]), float(row["n_accelerators"] or DEFAULT_DEVICES)
    batch = 2.0 ** round(np.log2(_batch_tokens(row) / length))
    net = _network(row)
    old = "V100" in row["accelerator"]
    kernels = Kernels("fp16-mixed" if old else "bf16-mixed", attention="eager" if old else "flash")
    if row["precision"].startswith("fp8"):
        kernels = replace(kernels, precision="fp8-mixed")
    question = Question(net, kernels, accelerator(device), length, batch)
    answer = best_layout(question, replace(usual_space(question, int(devices)), even=False))
    if answer is None:
        return None
    layout, recomputation, _ = answer
    named = replace(kernels, recomputation=recomputation)
    predicted = throughput.predict(net, named, layout, accelerator(device), length)
    steps = float(row["tokens"]) / (batch * length)
    ideal = steps * predicted.step_seconds.value * devices / 3600.0
    inside = devices <= accelerator(device).devices_per_node
    hours = float(row["gpu_hours"])
    return Run(row["model"], row["tier"][:1], device, net.model_type, hours, ideal, devices, inside)


def _batch_tokens(row: Mapping[str, str]) -> float:
    try:
        return float(row["global_batch_tokens"])
    except ValueError:
        return DEFAULT_BATCH_TOKENS


def _network(row: Mapping[str, str]) -> Network:
    if row["model"].startswith("DeepSeek"):
        return network("deepseek-v3" if "V3" in row["model"] else "deepseek-v2")
    layers, hidden, heads = (int(float(row[name])) for name in ("layers", "d_model", "heads"))
    options: dict[str, Any] = {
        "key_value_heads": int(float(row["kv_heads"] or heads)),
        "intermediate": int(float(row["d_ff"])) if row["d_ff"] else None,
        "vocabulary": 128 * round(float(row["vocab"]) / 128),
    }
    if any(name in row["model"] for name in GATED):
        return shapes.llama(layers, hidden, heads, **options)
    length = int(float(row["seq_len"]))
    return shapes.gpt(layers, hidden, heads, positions=length, dropout=0.0, **options)


class Reached(NamedTuple):
    """The share of billed hours that the best layout would have needed."""

    value: float
    low: float
    """Of the 90 % range for one more run, as a log-normal share has it."""
    high: float


def in_a_node(found: Sequence[Run]) -> Reached:
    """The share of the runs inside a node.

    At most 1: an estimate that is too slow for a run says nothing of its billing.
    """
    share = np.array([_share(run) for run in found if run.node])
    return _around(min(float(np.median(share)), 0.0), share)


def in_a_cluster(found: Sequence[Run]) -> tuple[Reached, float]:
    """The share of the other runs on `DEFAULT_DEVICES`, and its growth with their number.

    Growth is an exponent: large runs are tuned with more care, and are nearer to the best.
    """
    runs = [run for run in found if not run.node]
    size = np.log([run.devices / DEFAULT_DEVICES for run in runs])
    share = np.array([_share(run) for run in runs])
    growth, middle = np.polyfit(size, share, 1)
    return _around(min(float(middle), 0.0), share - growth * size), float(growth)


def _share(run: Run) -> float:
    return float(np.log(run.ideal_hours / run.hours))


def _around(middle: float, share: NDArray[np.float64]) -> Reached:
    spread = 1.645 * float(np.sqrt(np.mean((share - middle) ** 2) * (1.0 + 1.0 / len(share))))
    bounds = (middle, middle - spread, middle + spread)
    return Reached(*(round(float(np.exp(bound)), 3) for bound in bounds))


def shares(found: Sequence[Run]) -> dict[str, Any]:
    """What `throughput.billed_factor` needs to know of searched layouts."""
    cluster, growth = in_a_cluster(found)
    sizes = [run.devices for run in found if not run.node]
    return {
        "searched_node": in_a_node(found)._asdict(),
        "searched_cluster": cluster._asdict()
        | {
            "devices": DEFAULT_DEVICES,
            "growth": round(growth, 3),
            "fewest": min(sizes),
            "most": max(sizes),
        },
    }


def backtest() -> list[BacktestRow]:
    """Each run beside its estimate, with the share that all other runs reached."""
    found = runs()
    rows = []
    for run in found:
        share = _expected([other for other in found if other is not run], run)
        rows.append(
            BacktestRow(
                "published_runs",
                "device_hours",
                run.case,
                run.hours,
                run.ideal_hours / share.value,
                run.ideal_hours / share.high,
                run.ideal_hours / share.low,
                set_aside=True,
                family=run.family,
                accelerator=run.accelerator,
            )
        )
    return rows


def _expected(others: Sequence[Run], run: Run) -> Reached:
    if run.node:
        return in_a_node(others)
    cluster = shares(others)["searched_cluster"]
    tuned = float(tuning(cluster, run.devices))
    return Reached(*(cluster[bound] * tuned for bound in Reached._fields))
