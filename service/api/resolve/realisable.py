"""Whether a layout that was asked for can be realised; if not, which field to change, and how."""

from __future__ import annotations

from collections.abc import Iterator

from service.api.problems import FieldError, ProblemError
from service.core.architecture.network import Network
from service.core.parallelism import Layout


def check(network: Network, layout: Layout, sequence_length: float) -> None:
    """Raise ProblemError for a layout that no program could run."""
    errors = tuple(_errors(network, layout, sequence_length))
    if errors:
        raise ProblemError("impossible-layout", errors[0].detail, errors)


def _errors(network: Network, layout: Layout, sequence_length: float) -> Iterator[FieldError]:
    yield from _tensor(network, int(layout.tensor))
    yield from _pipeline(network, int(layout.pipeline), int(layout.interleave))
    yield from _expert(network, layout)
    yield from _devices(layout)
    if network.tokens and sequence_length % layout.context:
        yield FieldError(
            f"context {layout.context:g} must divide sequence_length {sequence_length:g}",
            "/layout/context",
        )


def _tensor(network: Network, tensor: int) -> Iterator[FieldError]:
    heads = network.heads()
    if tensor > 1 and not heads:
        detail = "tensor must be 1: the model has no attention heads to divide"
        yield FieldError(detail, "/layout/tensor")
    elif any(count % tensor for count in heads):
        ways = [w for w in range(1, min(heads) + 1) if all(count % w == 0 for count in heads)]
        shown = ", ".join(str(way) for way in ways[:12])
        counts = " and ".join(str(count) for count in heads)
        detail = f"tensor {tensor} does not divide the {counts} attention heads; use one of {shown}"
        yield FieldError(detail, "/layout/tensor")


def _pipeline(network: Network, pipeline: int, interleave: int) -> Iterator[FieldError]:
    layers = max(network.layers, 1)
    if pipeline > layers:
        detail = f"pipeline {pipeline} is more than the {layers} layers; use at most {layers}"
        yield FieldError(detail, "/layout/pipeline")
    elif interleave > 1 and pipeline == 1:
        yield FieldError("interleave needs pipeline above 1", "/layout/interleave")
    elif pipeline * interleave > layers:
        detail = f"pipeline x interleave must be at most the {layers} layers"
        yield FieldError(detail, "/layout/interleave")


def _expert(network: Network, layout: Layout) -> Iterator[FieldError]:
    experts, ways = network.experts(), int(layout.expert)
    if ways > 1 and not experts:
        yield FieldError("expert must be 1: the model has no experts", "/layout/expert")
    elif ways > 1 and experts % ways:
        yield FieldError(f"expert {ways} must divide the {experts} experts", "/layout/expert")
    ranks = int(layout.devices) // int(layout.pipeline)
    if ranks % (ways * int(layout.expert_tensor)):
        detail = f"expert x expert_tensor must divide the {ranks} devices of a pipeline stage"
        yield FieldError(detail, "/layout/expert")


def _devices(layout: Layout) -> Iterator[FieldError]:
    devices = int(layout.devices)
    replica = int(layout.tensor * layout.pipeline * layout.context)
    if devices % replica:
        detail = (
            f"tensor x pipeline x context is {replica}, which does not divide {devices} devices"
        )
        yield FieldError(detail, "/layout")
        return
    step = int(layout.micro_batch_size) * (devices // replica)
    if int(layout.global_batch_size) % step:
        near = max(round(int(layout.global_batch_size) / step), 1) * step
        detail = (
            f"global_batch_size {layout.global_batch_size:g} must be a multiple of "
            f"micro_batch_size x data-parallel ranks, {step}; {near} is the nearest"
        )
        yield FieldError(detail, "/workload/global_batch_size")
