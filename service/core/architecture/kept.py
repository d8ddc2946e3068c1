"""What an operator keeps, what flows on from it, and the choices that both depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.core.architecture.modules import LLAMA_LINE, Traits
from service.core.architecture.operators import Split
from service.core.architecture.tree import Placed
from service.core.formats import Formats
from service.core.parallelism import Kernels


class Kept(NamedTuple):
    """Bytes for one position of a stream."""

    tensor: float = 0.0
    """Divided by the tensor-parallel degree."""
    key_value: float = 0.0
    """Divided up to the number of key-value heads."""
    whole: float = 0.0
    """Divided by sequence parallelism only."""
    pair: float = 0.0
    """Bytes for one (query, key) pair; divided by the tensor-parallel degree."""

    def plus(self, other: Kept) -> Kept:
        """The sum, part by part."""
        return Kept(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Flow:
    """What is known of the tensor that an operator receives."""

    kept: bool = False
    """The operator before keeps it."""
    width: float = 0.0
    """Bytes an element."""
    source: float = 0.0
    """Bytes an element of what the last product with an input of its own received."""
    source_kept: bool = False
    """That input is already kept."""
    previous: Placed | None = None
    product: int = 0
    """Outputs of the last product."""


@dataclass(frozen=True)
class Context:
    """The choices that rules depend on."""

    kernels: Kernels
    formats: Formats
    traits: Traits = LLAMA_LINE

    @property
    def modules(self) -> bool:
        """PyTorch modules rather than fused kernels."""
        return self.kernels.implementation == "modules"

    @property
    def attention(self) -> str:
        """The attention kernel that runs: some families write their scores out regardless."""
        chosen = self.kernels.attention
        regardless = self.modules and self.traits.written_out and chosen == "sdpa"
        return "eager" if regardless else chosen

    @property
    def casts(self) -> bool:
        """Each product makes a 16-bit copy of an fp32 input."""
        return self.formats.autocast and self.modules


def divided(split: Split | str, amount: float) -> Kept:
    """An amount in the part that its split names."""
    if split in (Split.TENSOR, "column"):
        return Kept(tensor=amount)
    return Kept(key_value=amount) if split == Split.KEY_VALUE else Kept(whole=amount)
