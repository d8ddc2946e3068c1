"""What decoding keeps of the past: keys and values, compressed latents, recurrent states.

Elements for one sequence and one token: `2 L K h` for multi-head, grouped-query and multi-query
attention; `L (rank + rope)` for multi-head latent attention (DeepSeek-V2, arXiv 2405.04434
section 2.1), which tensor parallelism does not divide; a sliding window keeps at most its own
length; a recurrent layer keeps a state of constant size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Scan
from service.core.architecture.tree import Placed
from service.core.numeric import Number, ceil, minimum

BLOCK_TOKENS = 16
"""Tokens that a paged cache gives out at once (vLLM's default)."""

_STATE_BYTES, _CONVOLUTION_BYTES = 4.0, 2.0
_ROPE, _LATENT_BLOCK = 64, 128


class CacheFormat(NamedTuple):
    """Bytes an element, and bytes of scales for each head's vector of one token."""

    element: float
    scale: float = 0.0


_OF_LATENTS = "fp8-ds-mla"
CACHE_FORMATS: Mapping[str, CacheFormat] = {
    "fp32": CacheFormat(4.0),
    "bf16": CacheFormat(2.0),
    "fp16": CacheFormat(2.0),
    "fp8": CacheFormat(1.0),
    "fp8-per-head": CacheFormat(1.0, 4.0),
    "int8": CacheFormat(1.0, 4.0),
    "nvfp4": CacheFormat(0.5 + 1 / 16),
    "q8_0": CacheFormat(34 / 32),
    "q5_1": CacheFormat(24 / 32),
    "q5_0": CacheFormat(22 / 32),
    "q4_1": CacheFormat(20 / 32),
    "q4_0": CacheFormat(18 / 32),
    _OF_LATENTS: CacheFormat(1.0),
}
"""Formats of keys and values. `fp8` has one scale a tensor; `int8` and `fp8-per-head` an fp32
scale a head and token (vLLM, kv_cache_interface.py); `q*` are llama.cpp's blocks of 32;
`fp8-ds-mla` keeps the rotary part of a latent in 16 bits and an fp32 scale for 128 elements (656
bytes a layer)."""


class UnknownCacheFormat(ValueError):
    """A cache format that has no size rule, or none for the model."""


class CacheGroup(NamedTuple):
    """Layers that share a window and a number of key-value heads."""

    heads: Number
    window: Number
    """Tokens; infinite where the whole context is seen."""
    token_bytes: Number
    """Bytes that one token takes in all of them, undivided."""


_NOTHING = CacheGroup(1.0, 1.0, 0.0)
"""Stands first in each table, so that tables of different lengths can be filled up with it."""


@dataclass(frozen=True)
class CacheTable:
    """Bytes of one sequence's cache; one pipeline stage, undivided by tensor parallelism."""

    groups: tuple[CacheGroup, ...]
    latent: Number
    """Bytes a token of compressed caches, which every tensor rank holds whole."""
    state: Number
    """Bytes of recurrent and convolution states, whatever the length."""
    cross: Number
    """Bytes of cross-attention caches over an input of fixed length."""
    cross_per_token: Number
    """Bytes a token of the input, for cross attention over a token stream."""
    cross_heads: Number

    def per_token(self, tensor: Number = 1.0) -> Number:
        """Bytes that one more token adds on one rank while no window is full."""
        return self.latent + sum(g.token_bytes * _share(g.heads, tensor) for g in self.groups)

    def plus(self, other: CacheTable) -> CacheTable:
        """Both caches together; `other` is of a decoder without cross attention."""
        return replace(
            self,
            groups=(*self.groups, *other.groups),
            latent=self.latent + other.latent,
            state=self.state + other.state,
        )

    def sequence(self, tokens: Number, tensor: Number = 1.0, input_tokens: Number = 0.0) -> Number:
        """Bytes of one sequence of that many tokens on one rank: the architecture's minimum."""
        return self.reserved(tokens, tensor, input_tokens, 0.0)

    def reserved(
        self,
        tokens: Number,
        tensor: Number = 1.0,
        input_tokens: Number = 0.0,
        slack: Number = math.inf,
    ) -> Number:
        """Bytes that an engine sets aside which keeps `slack` tokens beyond each window.

        Infinite slack: sliding-window layers cost the full length, as in vLLM without its hybrid
        cache manager. With it the slack is one scheduled batch of tokens.
        """
        total = self.latent * tokens + self.state / tensor
        crossed = self.cross + self.cross_per_token * input_tokens
        total = total + crossed * _share(self.cross_heads, tensor)
        for group in self.groups:
            kept = minimum(tokens, group.window + slack)
            total = total + group.token_bytes * _share(group.heads, tensor) * kept
        return total


def _share(heads: Number, tensor: Number) -> Number:
    """A rank holds whole heads, at least one: beyond that the cache is replicated."""
    return ceil(heads / tensor) / heads


@lru_cache(maxsize=256)
def table(
    network: Network, cache_format: str = "bf16", pipeline: int = 1, stage: int = 0
) -> CacheTable:
    """The cache of one pipeline stage, folded once. Raises UnknownCacheFormat."""
    if cache_format not in CACHE_FORMATS:
        raise UnknownCacheFormat(f"kv_cache must be one of {', '.join(CACHE_FORMATS)}")
    if cache_format == _OF_LATENTS and not _keeps_latents(network):
        raise UnknownCacheFormat(f"{_OF_LATENTS} is for latent attention; this model has none")
    sums = dict.fromkeys(("latent", "state", "cross", "cross_per_token"), 0.0)
    groups: dict[tuple[float, float], float] = {}
    cross_heads = 1.0
    for leaf, layers in network.stage(pipeline, stage):
        operator, uses = leaf.operator, leaf.uses * layers
        if isinstance(operator, Scan):
            sums["state"] += _state_bytes(operator) * uses
        if not isinstance(operator, Attention) or not _decodes(leaf):
            continue
        size = _token_bytes(operator, cache_format) * uses
        if operator.latent_cache is not None:
            sums["latent"] += size
        elif operator.keys is not None:
            sums["cross"] += size * operator.keys.fixed
            sums["cross_per_token"] += size * operator.keys.per_token
            cross_heads = float(operator.key_value_heads)
        else:
            key = (float(operator.key_value_heads), float(operator.window or math.inf))
            groups[key] = groups.get(key, 0.0) + size
    found = (CacheGroup(*key, size) for key, size in sorted(groups.items()))
    return CacheTable((_NOTHING, *found), **sums, cross_heads=cross_heads)


def _keeps_latents(network: Network) -> bool:
    operators = (leaf.operator for leaf in network.distinct())
    return any(isinstance(o, Attention) and o.latent_cache is not None for o in operators)


def _state_bytes(scan: Scan) -> float:
    """Recurrent states stay in fp32, the convolutions before them in 16 bits (transformers)."""
    return _STATE_BYTES * scan.state_elements + _CONVOLUTION_BYTES * scan.conv_state


def _token_bytes(attention: Attention, cache_format: str) -> float:
    elements = attention.cache_elements()
    if cache_format == _OF_LATENTS and attention.latent_cache is not None:
        rank = elements - _ROPE
        return rank + 4.0 * rank / _LATENT_BLOCK + 2.0 * _ROPE
    size = CACHE_FORMATS[cache_format]
    vectors = 1.0 if attention.latent_cache else 2.0 * attention.key_value_heads
    return elements * size.element + (vectors * size.scale if elements else 0.0)


def _decodes(leaf: Placed) -> bool:
    """Whether the attention belongs to a decoder: causal, or cross attention from one."""
    operator = leaf.operator
    assert isinstance(operator, Attention)
    return operator.causal or operator.keys is not None
