"""Sequence mixers without attention: selective state spaces, linear attention, short convolutions.

Mamba (Gu and Dao 2023, arXiv 2312.00752), Mamba-2 (Dao and Gu 2024, 2405.21060), gated delta
networks (Yang et al. 2024, 2412.06464), lightning attention (Qin et al. 2024, 2405.17381). FLOPs
of the chunked algorithms: the products inside a chunk, to the running state and from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.core.architecture.families.decoder import Children
from service.core.architecture.operators import Convolution, Linear, Norm, Operator, Scan
from service.core.architecture.tree import Block


def depthwise(width: int, kernel: int, bias: bool, name: str = "conv1d") -> Convolution:
    """A causal convolution of each channel by itself."""
    return Convolution(name, width, width, (kernel,), groups=width, bias=bias)


@dataclass(frozen=True)
class Selective:
    """Sizes of a Mamba mixer."""

    hidden: int
    inner: int
    state: int
    rank: int
    kernel: int
    conv_bias: bool = True
    bias: bool = False
    norms: tuple[bool, bool] = (False, False)
    """Time step, B and C are normalised; those norms hold weights."""


def mamba(sizes: Selective) -> Block:
    """The mixer of Mamba: the scan itself is element-wise except for the read-out."""
    inner, state, rank = sizes.inner, sizes.state, sizes.rank
    used, weighted = sizes.norms
    widths = (("dt_layernorm", rank), ("b_layernorm", state), ("c_layernorm", state))
    norms = tuple(Norm(name, width, weight=weighted) for name, width in widths) if used else ()
    scan = Scan(
        "scan",
        "mamba",
        inner,
        float(inner * state),
        2.0 * inner * state,
        ((inner, state), (inner,)),
        float(inner * sizes.kernel),
    )
    children: tuple[Operator, ...] = (
        Linear("in_proj", sizes.hidden, 2 * inner, sizes.bias, "column"),
        depthwise(inner, sizes.kernel, sizes.conv_bias),
        Linear("x_proj", inner, rank + 2 * state, split="row"),
        *norms,
        Linear("dt_proj", rank, inner, True, "column"),
        scan,
        Linear("out_proj", inner, sizes.hidden, sizes.bias, "row"),
    )
    return Block("mamba", children)


@dataclass(frozen=True)
class Dual:
    """Sizes of a Mamba-2 mixer."""

    hidden: int
    inner: int
    heads: int
    groups: int
    state: int
    kernel: int
    chunk: int = 256
    conv_bias: bool = True
    bias: bool = False
    output_bias: bool | None = None
    norm: bool = True


def mamba2(sizes: Dual) -> Block:
    """The mixer of Mamba-2 (state-space duality, in chunks)."""
    inner, heads, state = sizes.inner, sizes.heads, sizes.state
    mixed, width = inner + 2 * sizes.groups * state, inner // heads
    inside = sizes.chunk * (state + width)
    flops = 2.0 * heads * (inside + 2 * state * width)
    shapes = ((heads,), (heads,), (heads,))
    output = sizes.bias if sizes.output_bias is None else sizes.output_bias
    children: Children = (
        Linear("in_proj", sizes.hidden, inner + mixed + heads, sizes.bias, "column"),
        depthwise(mixed, sizes.kernel, sizes.conv_bias),
        Scan(
            "scan",
            "mamba2",
            inner,
            float(inner * state),
            flops,
            shapes,
            float(mixed * sizes.kernel),
        ),
        *((Norm("norm", inner),) if sizes.norm else ()),
        Linear("out_proj", inner, sizes.hidden, output, "row"),
    )
    return Block("mamba", children)


@dataclass(frozen=True)
class Delta:
    """Sizes of a gated delta network."""

    hidden: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int

    @property
    def keys(self) -> int:
        """Width of all keys (and of all queries)."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Width of all values."""
        return self.value_heads * self.value_dim


DELTA_CHUNK = 64
"""Positions that the delta rule's chunked algorithm takes at once."""


def delta_scan(sizes: Delta, shapes: tuple[tuple[int, ...], ...]) -> Scan:
    """The recurrence of the delta rule, in chunks."""
    key, value = sizes.key_dim, sizes.value_dim
    inside = DELTA_CHUNK * (3 * key + 2 * value)
    flops = 2.0 * sizes.value_heads * (inside + 3 * key * value)
    state = float(sizes.value_heads * key * value)
    conv = float((2 * sizes.keys + sizes.values) * sizes.kernel)
    return Scan("scan", "linear_attention", sizes.values, state, flops, shapes, conv)


def delta(sizes: Delta, projections: Children, out: str = "out_proj") -> Block:
    """A gated delta network after the projections that its family writes."""
    heads = (sizes.value_heads,)
    children: Children = (
        *projections,
        depthwise(2 * sizes.keys + sizes.values, sizes.kernel, False),
        delta_scan(sizes, (heads, heads)),
        Norm("norm", sizes.value_dim, copies=sizes.value_heads),
        Linear(out, sizes.values, sizes.hidden, split="row"),
    )
    return Block("linear_attn", children)


def short_convolution(hidden: int, kernel: int, bias: bool) -> Block:
    """LFM2's mixer: a gated convolution over a few tokens."""
    children: Children = (
        Linear("in_proj", hidden, 3 * hidden, bias, "column"),
        depthwise(hidden, kernel, bias, "conv"),
        Scan("state", "convolution", hidden, 0.0, conv_state=float(hidden * kernel)),
        Linear("out_proj", hidden, hidden, bias, "row"),
    )
    return Block("conv", children)
