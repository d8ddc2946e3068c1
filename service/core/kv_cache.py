"""What decoding keeps of the past: keys and values, compressed latents, recurrent states.

Elements for one sequence and one token: `2 L K h` for multi-head, grouped-query and multi-query
attention; `L (rank + rope)` for multi-head latent attention (DeepSeek-V2, arXiv 2405.04434
section 2.1), which tensor parallelism does not divide; a sliding window keeps at most its own
length; a recurrent layer keeps a state of constant size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from service.core.architecture.network import Network, Placed
from service.core.architecture.operators import Attention, Scan
from service.core.numeric import Number, ceil, minimum


@dataclass(frozen=True)
class CacheTable:
    """Elements of one sequence's cache on one pipeline stage."""

    full: Number
    """Elements a token of keys and values of layers that see the whole context."""
    windowed: tuple[tuple[float, float], ...]
    """(window, elements a token) of layers that see at most a window."""
    latent: Number
    """Elements a token of compressed caches that every tensor rank holds whole."""
    state: Number
    """Elements of recurrent and convolution states, whatever the length."""
    cross: Number
    """Elements of cross-attention caches over an input of fixed length."""
    cross_per_token: Number
    """Elements a token of the encoder's input, for cross attention over a token stream."""
    key_value_heads: Number

    def per_token(self, tensor: Number = 1.0) -> Number:
        """Elements that one more token adds on one rank while no window is full."""
        windowed = sum(elements for _, elements in self.windowed)
        divided = (self.full + windowed) / self.key_value_heads * self._heads_per_rank(tensor)
        return divided + self.latent

    def sequence(self, tokens: Number, tensor: Number = 1.0, input_tokens: Number = 0.0) -> Number:
        """Elements of one sequence of that many tokens on one rank: the architecture's minimum."""
        divided = self.full * tokens + self.cross + self.cross_per_token * input_tokens
        for window, elements in self.windowed:
            divided = divided + elements * minimum(tokens, window)
        share = self._heads_per_rank(tensor) / self.key_value_heads
        return divided * share + self.latent * tokens + self.state / tensor

    def reserved(self, tokens: Number, tensor: Number = 1.0, input_tokens: Number = 0.0) -> Number:
        """Elements that an engine reserves which sizes sliding-window layers at full length."""
        windowed = sum(elements for _, elements in self.windowed)
        divided = (self.full + windowed) * tokens + self.cross
        divided = divided + self.cross_per_token * input_tokens
        share = self._heads_per_rank(tensor) / self.key_value_heads
        return divided * share + self.latent * tokens + self.state / tensor

    def _heads_per_rank(self, tensor: Number) -> Number:
        """A rank holds whole heads, at least one: beyond that the cache is replicated."""
        return ceil(self.key_value_heads / tensor)


@lru_cache(maxsize=1024)
def table(network: Network, pipeline: int = 1, stage: int = 0) -> CacheTable:
    """The cache of one pipeline stage, folded once."""
    full = latent = state = cross = cross_per_token = 0.0
    windowed: dict[float, float] = {}
    heads = 1 << 30
    for leaf, layers in network.stage(pipeline, stage):
        operator = leaf.operator
        if isinstance(operator, Scan):
            state += (operator.state_elements + operator.conv_state) * leaf.uses * layers
        if not isinstance(operator, Attention) or not _decodes(leaf):
            continue
        elements = operator.cache_elements() * leaf.uses * layers
        if operator.latent_cache is not None:
            latent += elements
            continue
        heads = min(heads, operator.key_value_heads)
        if operator.keys is not None:
            cross += elements * operator.keys.fixed
            cross_per_token += elements * operator.keys.per_token
        elif operator.window is not None:
            windowed[operator.window] = windowed.get(operator.window, 0.0) + elements
        else:
            full += elements
    if heads == 1 << 30:
        heads = 1
    return CacheTable(
        full, tuple(sorted(windowed.items())), latent, state, cross, cross_per_token, float(heads)
    )


def _decodes(leaf: Placed) -> bool:
    """Whether the attention belongs to a decoder: causal, or cross attention from one."""
    operator = leaf.operator
    assert isinstance(operator, Attention)
    return operator.causal or operator.keys is not None
