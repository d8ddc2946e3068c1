"""How a job is spread over devices: the degrees of parallelism and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from service.core.numeric import Number, maximum, minimum, where


@dataclass(frozen=True)
class Layout:
    """Degrees of parallelism and batch sizes; floats, or arrays in a sweep.

    The devices form `tensor x pipeline x context x data` ranks; experts are spread over ranks of
    the data-parallel group (and of the tensor group by `expert_tensor`), so that
    `expert * expert_tensor` divides `tensor * context * data`.
    """

    devices: Number = 1.0
    tensor: Number = 1.0
    pipeline: Number = 1.0
    context: Number = 1.0
    expert: Number = 1.0
    expert_tensor: Number = 1.0
    zero_stage: Number = 0.0
    """0 none, 1 optimizer states, 2 and gradients, 3 and parameters (FSDP full shard)."""
    shard_group: Number = 0.0
    """Data-parallel ranks over which ZeRO shards (hybrid sharding); 0 means all of them."""
    sequence_parallel: Number = 0.0
    """1 where the tensor group also divides the norms and dropouts along the sequence."""
    interleave: Number = 1.0
    """Model chunks a pipeline stage holds (virtual pipeline stages)."""
    micro_batch_size: Number = 1.0
    global_batch_size: Number = 1.0
    """Samples an optimizer step."""
    searched: Number = 0.0
    """1 where nobody gave the layout and the fastest one found stands for it."""

    @cached_property
    def data(self) -> Number:
        """The data-parallel degree."""
        return self.devices / (self.tensor * self.pipeline * self.context)

    @cached_property
    def micro_batches(self) -> Number:
        """Micro-batches that one pipeline runs for an optimizer step."""
        return maximum(self.global_batch_size / (self.micro_batch_size * self.data), 1.0)

    @cached_property
    def shards(self) -> Number:
        """Ways that ZeRO divides the dense states.

        The context group holds the same weights, so it shards with the data group.
        """
        return self._limited(self.data * self.context)

    @cached_property
    def expert_ways(self) -> Number:
        """Ways that the expert weights are divided by model parallelism."""
        return self.expert * self.expert_tensor

    @cached_property
    def expert_shards(self) -> Number:
        """Ways that ZeRO divides the expert states: the ranks that hold the same experts."""
        ranks = self.devices / self.pipeline
        return maximum(self._limited(ranks / self.expert_ways), 1.0)

    def _limited(self, ranks: Number) -> Number:
        return where(self.shard_group > 0, minimum(self.shard_group, ranks), ranks)


def plain(layout: Layout) -> Layout:
    """The layout with Python's own floats in place of elements of arrays."""
    return Layout(**{field.name: float(getattr(layout, field.name)) for field in fields(layout)})


@dataclass(frozen=True)
class Kernels:
    """The named choices of a training job that decide which bytes and FLOPs there are."""

    precision: str = "bf16-mixed"
    """fp32, bf16, fp16, bf16-autocast, fp16-autocast, bf16-mixed, fp16-mixed, fp8-mixed."""
    optimizer: str = "adamw"
    recomputation: str = "none"
    """none, selective (attention core), full (layer inputs only), half (that in half of them)."""
    attention: str = "flash"
    """eager, sdpa, flash."""
    implementation: str = "fused"
    """`modules`: PyTorch modules, as transformers writes them and FSDP and torch.compile run them.
    `fused`: Megatron-style kernels."""
    gradient_precision: str = "fp32"
    """Where gradients are accumulated under the mixed precisions: fp32 or bf16."""
    offload: str = "none"
    """none, optimizer (states in host memory), parameters (states and parameters)."""
    recomputed_share: float = 1.0
    """Of the layers of a stage, those that full recomputation covers: its first ones, as
    Megatron's block method has it."""

    @property
    def recomputed(self) -> float:
        """Share of the layers of which only the input is kept."""
        return {"full": self.recomputed_share, "half": 0.5}.get(self.recomputation, 0.0)

    @property
    def compute_format(self) -> str:
        """The number format of the matrix products."""
        head = self.precision.split("-")[0]
        return "tf32" if head == "fp32" else head
