"""What one network costs to serve, folded once for a pair of formats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from service.core import compute, kv_cache
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear
from service.core.numeric import Number
from service.core.weight_formats import weight_bytes

CACHE_FORMATS = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
    "nvfp4": 0.5 + 1 / 16,
}
"""Bytes an element of the key-value cache; int8 and fp8 add two fp32 scales a head and token."""


@dataclass(frozen=True)
class ServingTable:
    """What one network costs to serve in one pair of formats."""

    weights_bytes: Number
    expert_bytes: Number
    lookup_bytes: Number
    """The input embedding: held, but read one row a token."""
    dense_flops: Number
    """Forward matrix FLOPs a token without attention's."""
    prefill_square: Number
    """Attention FLOPs of a prompt: this times its length squared (causal half taken)."""
    pair_flops: Number
    """Attention FLOPs of one new token for each token of context."""
    layers: Number
    hidden: Number
    reduces: Number
    """Elements a token that tensor parallelism sums over ranks in one forward pass."""
    experts: Number
    active_experts: Number
    cache: kv_cache.CacheTable
    cache_bytes: Number
    """Bytes an element of the cache."""


@lru_cache(maxsize=2048)
def table(network: Network, weights: str = "bf16", cache: str = "bf16") -> ServingTable:
    """The serving figures of a network, folded once. Raises UnknownFormat."""
    stored = weight_bytes(network, weights)
    work = compute.table(network)
    token = 1.0
    pairs = work.attention
    square = 0.5 * pairs.causal.square + sum(per_pair for _, per_pair in pairs.windowed) * 0.5
    reduces = sum(
        leaf.operator.outputs * leaf.uses
        for leaf in network.leaves()
        if isinstance(leaf.operator, Linear) and leaf.operator.split == "row"
    )
    routed = [leaf.routing for leaf in network.leaves() if leaf.routing]
    return ServingTable(
        stored.total,
        stored.expert,
        stored.embedding,
        work.dense.linear + work.expert.linear + work.head.linear + work.scan.linear * token,
        square,
        2.0 * square,
        float(network.layers),
        float(network.hidden_size),
        float(reduces),
        float(routed[0].count) if routed else 0.0,
        float(routed[0].active) if routed else 0.0,
        kv_cache.table(network),
        CACHE_FORMATS[cache],
    )


def compute_format(weights: str) -> str:
    """The number format of the products with weights stored so: int4 formats compute in 16 bits."""
    if weights.startswith("fp8"):
        return "fp8"
    return {"nvfp4": "fp4", "int8": "int8", "fp32": "tf32"}.get(weights, "bf16")
