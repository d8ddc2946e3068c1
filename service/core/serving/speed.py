"""Prefill and decode time of one replica.

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

from service.core.hardware import Device
from service.core.numeric import Number, maximum, minimum, power, where
from service.core.serving.load import Engine, Replica
from service.core.serving.memory import cache_bytes_per_sequence
from service.core.serving.tables import ServingTable


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
