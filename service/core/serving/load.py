"""How a replica is spread and loaded, and the calibrated coefficients of its engine."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.numeric import Number


@dataclass(frozen=True)
class Replica:
    """How one replica is spread and loaded; floats or arrays."""

    tensor: Number = 1.0
    pipeline: Number = 1.0
    batch: Number = 1.0
    """Sequences in flight together."""
    prompt_tokens: Number = 512.0
    output_tokens: Number = 256.0
    cached_prefix: Number = 0.0
    """Tokens of the prompt whose keys and values are already there."""

    @property
    def devices(self) -> Number:
        """Devices of one replica."""
        return self.tensor * self.pipeline


@dataclass(frozen=True)
class Engine:
    """Calibrated coefficients of one (accelerator, engine) pair."""

    bandwidth_efficiency: Number = 0.8
    """Share of the memory bandwidth reached while weights are read."""
    cache_efficiency: Number = 0.6
    """The same while keys and values are read."""
    compute_efficiency: Number = 0.55
    """Share of the peak reached by the products of a prompt or a large batch."""
    layer_seconds: Number = 60e-6
    """Launches and small kernels of one layer."""
    tensor_layer_seconds: Number = 20e-6
    """What a layer costs more as soon as it is divided over ranks."""
    sequence_seconds: Number = 15e-6
    """Scheduling and sampling of one sequence a step."""
    link_efficiency: Number = 0.5
    """Share of the link's bandwidth that all-reduces reach."""
    memory_fraction: Number = 0.90
    """Share of a device's memory that the engine may use."""
    reserved_bytes: Number = 1.0e9
    """Context, graphs, workspaces and communication buffers of one device."""
