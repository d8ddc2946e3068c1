"""Serving a model: memory for weights and caches, concurrency, prefill and decode speed.

One replica is `tensor * pipeline` devices. A decode step reads the weights that its tokens use
and their caches once, and computes; it takes the longer of the two, plus an overhead a layer
that small models and batches pay:

    step = layers * (c0 + c1 [t > 1]) + sequences * c2
           + max(weights / (bandwidth e_w) + caches / (bandwidth e_k), FLOPs / (peak e_c))
           + all-reduces / (link e_l) + the prompts that arrive meanwhile (continuous batching)

Form: Pope et al. 2022 (arXiv 2211.05102) for the two limits, the additive overhead and the
efficiencies from measured rows (`calibration_data/serving.json`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from service.core import compute, kv_cache
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear
from service.core.hardware import Device
from service.core.numeric import Number, ceil, floor, maximum, minimum, power, where
from service.core.weight_formats import weight_bytes

FORMAT_BYTES = {
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
        FORMAT_BYTES[cache],
    )


@dataclass(frozen=True)
class Replica:
    """How one replica is spread and loaded; floats or arrays."""

    tensor: Number = 1.0
    pipeline: Number = 1.0
    batch: Number = 1.0
    """Sequences decoded together."""
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


def weights_bytes_per_device(table: ServingTable, replica: Replica) -> Number:
    """Bytes of weights on one device."""
    return table.weights_bytes / replica.devices


def cache_bytes_per_token(table: ServingTable, replica: Replica) -> Number:
    """Bytes that one more token of one sequence takes on one device."""
    elements = table.cache.per_token(replica.tensor) / replica.pipeline
    return elements * table.cache_bytes


def cache_bytes_per_sequence(table: ServingTable, replica: Replica, tokens: Number) -> Number:
    """Bytes of one sequence's cache on one device: the architecture's minimum."""
    elements = table.cache.sequence(tokens, replica.tensor, replica.prompt_tokens)
    return elements * table.cache_bytes / replica.pipeline


def cache_budget_bytes(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Bytes that are left for caches on one device: `total * fraction - weights - reserved`."""
    used = weights_bytes_per_device(table, replica) + engine.reserved_bytes
    return maximum(device.memory_bytes * engine.memory_fraction - used, 0.0)


def max_concurrency(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    """Sequences of that many tokens that one replica holds at once (blocks of 16 tokens)."""
    rounded = ceil(tokens / 16.0) * 16.0
    each = maximum(cache_bytes_per_sequence(table, replica, rounded), 1.0)
    return floor(cache_budget_bytes(table, replica, device, engine) / each)


def experts_read(table: ServingTable, batch: Number) -> Number:
    """Share of the routed experts that a step of `batch` tokens reads: 1 - (1 - k/E)^b."""
    ratio = table.active_experts / maximum(table.experts, 1.0)
    return where(table.experts > 0, 1.0 - power(1.0 - minimum(ratio, 0.999999), batch), 1.0)


def decode_step_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds of one decode step of the whole batch, without any prefill in between."""
    context = replica.prompt_tokens + 0.5 * replica.output_tokens
    dense = table.weights_bytes - table.expert_bytes - table.lookup_bytes
    read = dense + table.expert_bytes * experts_read(table, replica.batch)
    caches = replica.batch * cache_bytes_per_sequence(table, replica, context)
    memory = read / (replica.devices * device.memory_bandwidth * engine.bandwidth_efficiency)
    memory = memory + caches / (device.memory_bandwidth * engine.cache_efficiency)
    flops = replica.batch * (table.dense_flops + table.pair_flops * context)
    compute_seconds = flops / (device.peak_flops * engine.compute_efficiency * replica.devices)
    stages = where(replica.batch < replica.pipeline, replica.pipeline / replica.batch, 1.0)
    busy = maximum(memory, compute_seconds) * stages
    reduces = _reduce_seconds(table, replica, device, engine, replica.batch)
    return busy + reduces + _overhead(table, replica, engine) + _scheduling(replica, engine)


def _scheduling(replica: Replica, engine: Engine) -> Number:
    return engine.sequence_seconds * replica.batch


def _overhead(table: ServingTable, replica: Replica, engine: Engine) -> Number:
    split = where(replica.tensor > 1.0, engine.tensor_layer_seconds, 0.0)
    return table.layers * (engine.layer_seconds + split)


def _reduce_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    """All-reduces of one pass over `tokens`: `2 (t - 1)/t` times the payload over the link."""
    payload = 2.0 * table.reduces * tokens
    ring = 2.0 * (replica.tensor - 1.0) / replica.tensor
    return ring * payload / (device.scale_up_bandwidth * engine.link_efficiency)


def prefill_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds to process one prompt on an idle replica (no queue, so no load)."""
    busy = _prefill_busy_seconds(table, replica, device, engine)
    read = (table.weights_bytes - table.lookup_bytes) / replica.devices
    memory = read / (device.memory_bandwidth * engine.bandwidth_efficiency)
    return maximum(busy, memory) + _overhead(table, replica, engine)


def _prefill_busy_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    prompt = replica.prompt_tokens
    new = maximum(prompt - replica.cached_prefix, 1.0)
    pairs = prompt * prompt - replica.cached_prefix * replica.cached_prefix
    flops = table.dense_flops * new + table.prefill_square * pairs
    peak = device.peak_flops * engine.compute_efficiency * replica.devices
    return flops / peak + _reduce_seconds(table, replica, device, engine, new)


def seconds_per_output_token(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Mean time between a sequence's output tokens under continuous batching.

    While a sequence is decoded, the replica also prefills its neighbours' prompts: `batch` of them
    for each `output_tokens` steps.
    """
    step = decode_step_seconds(table, replica, device, engine)
    share = _prefill_busy_seconds(table, replica, device, engine) / replica.output_tokens
    return step + (replica.batch - 1.0) * share


def output_tokens_per_second(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Output tokens a second of one replica."""
    return replica.batch / seconds_per_output_token(table, replica, device, engine)


def speculative_tokens(drafted: Number, acceptance: Number) -> Number:
    """Expected tokens a verification: `(1 - a^(n+1)) / (1 - a)` (Leviathan 2022, eq. 1)."""
    a = minimum(acceptance, 1.0 - 1e-9)
    return (1.0 - power(a, drafted + 1.0)) / (1.0 - a)
