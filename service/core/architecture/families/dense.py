"""Decoders whose layers are alike: how norms, attention and feed-forward are arranged in one.

The common parts of the dense families, each read from the names that most configs use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    plain_mlp,
)
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    grouped,
    kinds,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm
from service.core.architecture.tree import Block

Arrange = Callable[[Norm, Block, Block], Children]


def pre_norm(norm: Norm, attention: Block, mlp: Block) -> Children:
    """A norm before each half of the layer (Llama)."""
    first = replace(norm, name="input_layernorm")
    return first, attention, replace(norm, name="post_attention_layernorm"), mlp


def post_norm(norm: Norm, attention: Block, mlp: Block) -> Children:
    """A norm after each half of the layer (OLMo 2)."""
    after = replace(norm, name="post_attention_layernorm")
    return attention, after, mlp, replace(norm, name="post_feedforward_layernorm")


def sandwich(norm: Norm, attention: Block, mlp: Block) -> Children:
    """A norm before and after each half of the layer (Gemma 2)."""
    names = ("post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    after, before, last = (replace(norm, name=name) for name in names)
    return replace(norm, name="input_layernorm"), attention, after, before, mlp, last


def parallel(norm: Norm, attention: Block, mlp: Block) -> Children:
    """One norm, whose result both halves read side by side (GPT-J, Cohere)."""
    return replace(norm, name="input_layernorm"), attention, mlp


def dense(
    config: Config,
    shape: AttentionShape,
    mlp: Block,
    *,
    arrange: Arrange = pre_norm,
    norm: Norm | None = None,
    windows: Sequence[int | None] | None = None,
    layers: str = "num_hidden_layers",
    ends: bool = True,
    **frame: Any,
) -> Network:
    """A decoder whose layers differ at most in their attention window.

    `ends`: a norm follows the last layer. `frame`: arguments of causal_lm.
    """
    norm = norm or Norm("norm", shape.hidden)
    if windows is None:
        windows = [shape.window] * config.layers(layers)

    def make(size: int | None) -> Children:
        return arrange(norm, attention(replace(shape, window=size)), mlp)

    return causal_lm(config, shape.hidden, runs(windows, make), norm if ends else None, **frame)


def windows(config: Config, default: Callable[[int], str]) -> list[int | None]:
    """The window of each layer, from `layer_types` and `sliding_window`."""
    size = window(config)
    return [size if kind == SLIDING else None for kind in kinds(config, default)]


def every(full: int) -> Callable[[int], str]:
    """The pattern in which each `full`-th layer sees everything and the others a window."""
    return lambda index: SLIDING if (index + 1) % full else FULL


def biased(config: Config, field: str = "attention_bias", **changes: Any) -> AttentionShape:
    """Grouped-query attention whose four projections have biases where the field says so."""
    bias = config.flag(field)
    return replace(grouped(config, bias=bias, output_bias=bias), **changes)


def swiglu(
    config: Config, bias: str = "", size: str = "intermediate_size", activation: str = "hidden_act"
) -> Block:
    """The gated feed-forward with the names that most configs use."""
    return gated_mlp(
        config.integer("hidden_size"),
        config.integer(size),
        config.text(activation, "silu"),
        bool(bias) and config.flag(bias),
    )


def plain(
    config: Config, bias: str | bool, names: tuple[str, str] = ("up_proj", "down_proj"), **more: Any
) -> Block:
    """The plain feed-forward with the names that most configs use."""
    return plain_mlp(
        config.integer("hidden_size"),
        config.integer("intermediate_size"),
        config.text("hidden_act", "gelu"),
        bias if isinstance(bias, bool) else config.flag(bias),
        names,
        **more,
    )
