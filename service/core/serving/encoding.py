"""An encoder that is served: whole inputs in one pass, an answer for each, nothing decoded.

A pass takes the inputs that wait together, as many as the engine schedules at once, and costs what
as many prompts would: `speed.prefill_seconds`. Under TensorRT its coefficients are fitted on passes
of BERT (`calibration_data/encoding.json`, by `service/calibration/serving_encoders.py`); TensorRT's
encoder kernels keep what a token gives on the chip, so activations are left out. Other engines were
not measured with encoders: theirs are the coefficients, and the interval, of prompts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.numeric import Number, exp, floor, maximum, minimum
from service.core.serving import composition, speed
from service.core.serving.calibration import evidence
from service.core.serving.composition import ServingEstimate, ServingJob
from service.core.serving.load import Engine, Replica
from service.core.serving.memory import budget
from service.core.serving.tables import ServingTable, compute_format, format_class, table
from service.core.uncertainty import Interval, relative

NOTHING = Interval(0.0, 0.0, 0.0)
FUSED = "tensorrt-llm"
"""The engine that encoders were measured with, by its TensorRT kernels."""
MEASURED_CLASSES = ("16-bit", "int8")
"""Classes of weight formats that they were measured in."""


class Fitted(NamedTuple):
    """What a fit gives."""

    common: Mapping[str, Number]
    """Logits of shares and logarithms, by name."""
    accelerators: Mapping[str, Number]
    """What is added to the logit of `compute` for a machine that was measured."""


@cache
def document() -> Mapping[str, Any]:
    """The calibration file."""
    text = files("service.core").joinpath("calibration_data/encoding.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def estimate(network: Network, accelerator: Accelerator, job: ServingJob) -> ServingEstimate:
    """One replica: of a model that generates `composition.estimate`, of an encoder its passes.

    Of an encoder a request's one answer stands where its output tokens would: the job asks for one,
    `first_token_seconds` is the time to it with `batch` requests always in progress, and between
    tokens there is nothing. Raises what `composition.estimate` raises.
    """
    found = composition.estimate(network, accelerator, job)
    return found if network.causal else _encoded(found, network, accelerator, job)


def _encoded(
    found: ServingEstimate, network: Network, accelerator: Accelerator, job: ServingJob
) -> ServingEstimate:
    folded = table(network, job.weights, job.cache)
    device = accelerator.device(compute_format(job.weights))
    engine, (low, high), level = _coefficients(accelerator.name, job)
    replica = Replica(job.tensor, job.pipeline, found.batch, job.prompt_tokens, 0.0, data=job.data)
    together = minimum(replica.own_sequences, _scheduled(job))
    passed = fused(folded) if job.engine == FUSED else folded
    seconds = speed.prefill_seconds(passed, replica, device, engine, together)
    seconds = seconds + engine.sequence_seconds * together
    waited = relative(seconds * (replica.own_sequences / together), low, high)
    answers = waited.inverse(replica.batch)
    read = folded.step_bytes / (replica.tensor * device.memory_bandwidth)
    flops = speed.request_flops(folded, replica) * answers.value
    return replace(
        found,
        first_token_seconds=waited,
        decode_seconds_per_token=NOTHING,
        output_tokens_per_second=answers,
        requests_per_second=answers,
        bandwidth_utilization=minimum(read / seconds, 1.0),
        model_flops_utilization=flops / (device.peak_flops * replica.devices),
        level=level,
    )


def measured(engine: str, weights: str) -> bool:
    """Whether encoders were measured with the engine and weights of this kind."""
    return engine == FUSED and format_class(weights) in MEASURED_CLASSES


def fused(folded: ServingTable) -> ServingTable:
    """The table of a network whose kernels pass nothing through memory but weights."""
    return replace(folded, moved=0.0, moved_whole=0.0)


def _coefficients(accelerator: str, job: ServingJob) -> tuple[Engine, tuple[float, float], str]:
    """The engine's coefficients, log-ratios of the 90 % interval, and what they rest on."""
    known = evidence(accelerator, job.engine, format_class(job.weights))
    if job.engine != FUSED:
        return known.engine, known.bounds["prefill"], known.level
    found = document()
    fitted = Fitted(found["coefficients"], found["accelerators"])
    engine = engine_of(fitted, accelerator, format_class(job.weights))
    if not measured(job.engine, job.weights):
        return engine, known.bounds["prefill"], "engine"
    level = "pair" if accelerator in found["accelerators"] else "engine"
    low, high = found["intervals"][level]
    return engine, (low, high), level


def engine_of(fitted: Fitted, accelerator: str, weights_class: str) -> Engine:
    """The engine of the fitted logits and logarithms; weights are read at the peak's 90 %."""
    common = fitted.common
    compute = common["compute"] + fitted.accelerators.get(accelerator, 0.0)
    eight = common["int8"] if weights_class == "int8" else 0.0
    return Engine(
        compute_efficiency=1.0 / (1.0 + exp(-(compute + eight))),
        attention_efficiency=1.0 / (1.0 + exp(-common["attention"])),
        bandwidth_efficiency=0.9,
        overlap=1.0,
        layer_seconds=exp(common["layer_seconds"]),
        sequence_seconds=0.0,
        step_seconds=0.0,
    )


def _scheduled(job: ServingJob) -> Number:
    """Inputs of one pass: all that wait, up to the engine's tokens a pass where it has a limit."""
    tokens = budget(job.engine).batched_tokens
    return maximum(floor(tokens / job.prompt_tokens), 1.0) if tokens else float("inf")
