"""Step time with its interval, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.hardware import Accelerator, Device
from service.core.numeric import Number, maximum, minimum, power, where
from service.core.parallelism import Kernels, Layout
from service.core.throughput.coefficients import bounds, coefficients, document
from service.core.throughput.stages import has_experts, stages
from service.core.throughput.steptime import StepTime, state_bytes, step
from service.core.uncertainty import Interval, relative


class Prediction(NamedTuple):
    """The time of one optimizer step."""

    step_seconds: Interval
    parts: StepTime


def predict(
    network: Network,
    kernels: Kernels,
    layout: Layout,
    accelerator: Accelerator,
    sequence_length: float,
) -> Prediction:
    """Seconds of one optimizer step, with the 90 % interval. Floats only."""
    work = stages(network, kernels, int(layout.pipeline), sequence_length)
    parts = step(
        work,
        state_bytes(kernels),
        layout,
        device(accelerator, kernels.compute_format),
        coefficients(accelerator, kernels),
    )
    limits = bounds(accelerator, has_experts(network))
    return Prediction(relative(parts.total_seconds, *limits), parts)


def device(accelerator: Accelerator, number_format: str) -> Device:
    """The accelerator's figures for one format, made once."""
    return _device(_Identity(accelerator), number_format)


class _Identity:
    """An accelerator as a cache key: mappings have no hash."""

    __slots__ = ("accelerator",)

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator

    def __hash__(self) -> int:
        return hash(self.accelerator.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.accelerator == other.accelerator


@lru_cache(maxsize=1024)
def _device(identity: _Identity, number_format: str) -> Device:
    return identity.accelerator.device(number_format)


def tuning(cluster: Mapping[str, float], devices: Number) -> Number:
    """What runs on so many devices reach of the best layout, over those on `cluster["devices"]`.

    It grows with the devices as far as runs were measured, and up to the whole.
    """
    measured = minimum(maximum(devices, cluster["fewest"]), cluster["most"])
    return minimum(power(measured / cluster["devices"], cluster["growth"]), 1 / cluster["value"])


def billed_factor(layout: Layout, device: Device) -> Interval:
    """Billed hours of a run over the sum of its steps.

    Failures, restarts, checkpoints and evaluation take their part: published runs imply that
    0.65 to 0.95 of the hours were steps (PaLM 0.66, Llama 3.1 405B 0.86, BLOOM 0.88, Gopher
    0.93). Where the layout was searched, the steps are those of the best one found, and what
    published runs reached of that is measured (`service/calibration/published_hours.py`): the
    more, the more devices they had. Runs inside one node have no network and little that fails.
    """
    shares = document()["shares"]
    node = layout.devices <= device.devices_per_node
    cluster = shares["searched_cluster"]
    tuned = tuning(cluster, layout.devices)

    def share(bound: str) -> Number:
        given = where(node, shares["given_node"][bound], shares["given_cluster"][bound])
        best = where(node, shares["searched_node"][bound], cluster[bound] * tuned)
        return where(layout.searched > 0, best, given)

    return Interval(1.0 / share("value"), 1.0 / share("high"), 1.0 / share("low"))
