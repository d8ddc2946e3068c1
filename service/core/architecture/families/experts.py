"""Mixtures of experts: reading their sizes, and layers of which only some hold a mixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    mixture,
)
from service.core.architecture.families.dense import Arrange, pre_norm
from service.core.architecture.families.trunk import causal_lm, kinds, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm
from service.core.architecture.tree import Block

MOST = 100_000
"""Experts in one layer that a config may ask for."""


def routed(config: Config, count: str, active: str) -> tuple[int, int]:
    """(experts, experts that work on a token), from the two fields named."""
    experts = config.integer(count, 1, MOST)
    chosen = config.integer(active, 1, MOST)
    if chosen > experts:
        raise ConfigError(config.where(active), f"{active} exceeds {count}")
    return experts, chosen


def experts(
    config: Config,
    inner: str = "moe_intermediate_size",
    count: str = "num_experts",
    active: str = "num_experts_per_tok",
    *,
    hidden: str = "hidden_size",
    bias: bool = False,
    shared: Children = (),
    **router: Any,
) -> Block:
    """A mixture of gated feed-forwards. `router`: arguments of `mixture`."""
    width = config.integer(hidden)
    expert = gated_mlp(width, config.integer(inner), config.text("hidden_act", "silu"), bias)
    return mixture(width, expert, *routed(config, count, active), shared=shared, **router)


def shared_expert(
    config: Config, inner: int, name: str = "shared_experts", bias: bool = False
) -> Children:
    """The feed-forward that every token passes besides its experts; nothing for a width of 0."""
    activation = config.text("hidden_act", "silu")
    width = config.integer("hidden_size")
    return (gated_mlp(width, inner, activation, bias, name),) if inner else ()


def several_shared(
    config: Config,
    count: str = "n_shared_experts",
    inner: str = "moe_intermediate_size",
    bias: str = "",
) -> Children:
    """Shared experts side by side, which are one feed-forward that many times as wide."""
    width = (config.optional(count, 0, MOST) or 0) * config.integer(inner)
    return shared_expert(config, width, bias=bool(bias) and config.flag(bias))


def after(config: Config, first: str, count: str = "num_hidden_layers") -> list[bool]:
    """Which layers hold a mixture: those from the one that the field names."""
    dense = config.optional(first) or 0
    return [index >= dense for index in range(config.layers(count))]


def marked(config: Config, dense: int | Callable[[int], bool] = 1) -> list[bool]:
    """Which layers hold a mixture, from `mlp_layer_types`.

    Where it is absent: all after the first `dense`, or those that `dense` as a function chooses.
    """
    known = ("dense", "sparse")

    def default(index: int) -> str:
        return known[index >= dense if isinstance(dense, int) else dense(index)]

    found = kinds(config, default, known, "mlp_layer_types")
    return [kind == "sparse" for kind in found]


def sparse(
    config: Config,
    shape: AttentionShape | Block,
    mlp: Block,
    moe: Block,
    which: Sequence[bool],
    *,
    arrange: Arrange = pre_norm,
    norm: Norm | None = None,
    windows: Sequence[int | None] | None = None,
    hidden: str = "hidden_size",
    **frame: Any,
) -> Network:
    """A decoder in which `which` layers hold the mixture, the others the dense feed-forward."""
    width = config.integer(hidden)
    norm = norm or Norm("norm", width)
    if windows is None:
        windows = [shape.window if isinstance(shape, AttentionShape) else None] * len(which)

    def make(kind: tuple[bool, int | None]) -> Children:
        block = shape if isinstance(shape, Block) else attention(replace(shape, window=kind[1]))
        return arrange(norm, block, moe if kind[0] else mlp)

    layers = runs(list(zip(which, windows, strict=True)), make)
    return causal_lm(config, width, layers, norm, **frame)
