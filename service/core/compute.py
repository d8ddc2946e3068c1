"""How many FLOPs: the fold of the tree over its matrix products.

Conventions: a multiply-add is 2 FLOPs; causal attention counts half of the (query, key) pairs and
a sliding window the pairs inside it; element-wise work is not counted; the backward pass of a
product costs twice its forward pass. Frozen weights need no weight gradient, so their backward
costs once. Source of the conventions: Kaplan et al. 2020 (arXiv 2001.08361) section 2.1 and
Narayanan et al. 2021 (arXiv 2104.04473) appendix, with causal halving as in PaLM's appendix B
turned on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Linear, Scan
from service.core.architecture.polynomial import TOKENS, ZERO, Polynomial
from service.core.architecture.tree import Placed
from service.core.numeric import Number, minimum

FLASH_BACKWARD = 2.5
"""FLOPs of flash attention's backward pass over its forward pass: it computes the scores again,
five products for the two of the forward pass (Dao 2023, arXiv 2307.08691, section 3.1)."""


@dataclass(frozen=True)
class Pairs:
    """(query, key) pairs of one sample: masks decide how many of them are computed."""

    causal: Polynomial = ZERO
    """FLOPs over the full square of causal attention; half of it is needed."""
    full: Polynomial = ZERO
    """FLOPs of attention without a causal mask."""
    windowed: tuple[tuple[float, float], ...] = ()
    """(window in tokens, FLOPs a pair) of causal sliding-window attention."""
    around: tuple[tuple[float, float], ...] = ()
    """The same where a token sees half of the window on either side of it."""

    def at(self, sequence_length: Number) -> Number:
        """Forward FLOPs of one sample with masks taken into account."""
        flops = 0.5 * self.causal.at(sequence_length) + self.full.at(sequence_length)
        for window, per_pair in self.windowed:
            flops = flops + per_pair * windowed_pairs(sequence_length, window)
        for window, per_pair in self.around:
            flops = flops + 2.0 * per_pair * windowed_pairs(sequence_length, 0.5 * window)
        return flops


def windowed_pairs(sequence_length: Number, window: Number) -> Number:
    """Causal pairs within the window: `s w - w^2 / 2` with `w <= s`."""
    reach = minimum(window, sequence_length)
    return sequence_length * reach - 0.5 * reach * reach


@dataclass(frozen=True)
class ComputeTable:
    """Forward matrix FLOPs of one pipeline stage for one sample."""

    dense: Polynomial
    expert: Polynomial
    head: Polynomial
    """The output projection; part of neither `dense` nor `expert`."""
    scan: Polynomial
    attention: Pairs
    frozen: Polynomial
    """The part of dense, expert and head whose weights are not trained."""

    def forward(self, sequence_length: Number) -> Number:
        """Forward FLOPs of one sample."""
        return self.products(sequence_length) + self.attention.at(sequence_length)

    def products(self, sequence_length: Number) -> Number:
        """Forward FLOPs of one sample without attention's."""
        s = sequence_length
        return self.dense.at(s) + self.expert.at(s) + self.head.at(s) + self.scan.at(s)

    def training(self, sequence_length: Number) -> Number:
        """Forward and backward FLOPs of one sample, without any recomputation."""
        return 3.0 * self.forward(sequence_length) - self.frozen.at(sequence_length)


@lru_cache(maxsize=256)
def table(network: Network, pipeline: int = 1, stage: int = 0) -> ComputeTable:
    """The forward FLOPs of one stage, folded once."""
    sums = dict.fromkeys(("dense", "expert", "head", "scan", "frozen"), ZERO)
    causal, full = ZERO, ZERO
    windowed: dict[float, float] = {}
    around: dict[float, float] = {}
    for leaf, layers in network.together(pipeline, stage):
        operator = leaf.operator
        if isinstance(operator, Attention):
            pairs = attention_flops(leaf).scaled(layers)
            if operator.window is not None and (operator.causal or sees_around(leaf)):
                per_pair = operator.pair_flops() * leaf.uses * layers
                reach = windowed if operator.causal else around
                reach[operator.window] = reach.get(operator.window, 0.0) + per_pair
            elif operator.causal:
                causal = causal.plus(pairs)
            else:
                full = full.plus(pairs)
            continue
        flops = leaf.stream.positions().scaled(operator.flops() * leaf.uses * layers)
        kind = kind_of_product(leaf)
        sums[kind] = sums[kind].plus(flops)
        if leaf.frozen:
            sums["frozen"] = sums["frozen"].plus(flops)
    return ComputeTable(
        sums["dense"],
        sums["expert"],
        sums["head"],
        sums["scan"],
        Pairs(causal, full, tuple(sorted(windowed.items())), tuple(sorted(around.items()))),
        sums["frozen"],
    )


def sees_around(leaf: Placed) -> bool:
    """Whether an attention without a causal mask runs on the token stream alone."""
    return leaf.operator.keys is None and leaf.stream == TOKENS  # type: ignore[attr-defined]


def attention_flops(leaf: Placed) -> Polynomial:
    """Forward FLOPs of an attention leaf for one sample, each query meeting each key."""
    operator = leaf.operator
    assert isinstance(operator, Attention)
    keys = operator.keys or leaf.stream
    reach = operator.window
    if reach is not None and not operator.causal and not keys.per_token:
        keys = keys._replace(fixed=min(keys.fixed, float(reach)))
    return leaf.stream.pairs(keys).scaled(operator.pair_flops() * leaf.uses)


def kind_of_product(leaf: Placed) -> str:
    """Which sum of the table a leaf's FLOPs belong to."""
    if isinstance(leaf.operator, Linear) and leaf.operator.head:
        return "head"
    if isinstance(leaf.operator, Scan):
        return "scan"
    return "expert" if leaf.routing else "dense"
