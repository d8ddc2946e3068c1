"""Prefill and decode time of one replica.

A decode step reads the weights that its tokens use and their caches once, and computes. Under
continuous batching it also carries the prompts that arrive meanwhile: `batch` of them for each
`output_tokens` steps. The longer of reading and computing counts, plus a part of the shorter one,
plus overheads that small models and batches pay:

    step = layers (c0 + c1 [t > 1]) + c2 + c3 m + all-reduces
           + max(M, C) + (1 - overlap) min(M, C)
    M = weights / (t bandwidth e_w) + m cache / (bandwidth e_k)
    C = FLOPs / (t peak e_c) + activations / (bandwidth e_w)

Activations are what the kernels of a token read and write beside weights and caches (the training
step's count of them, `architecture/traffic`). An eager engine has no c0: it launches its kernels
while the device works on earlier ones, and the slower of the two counts.

Under attention data parallelism each group of t ranks has its own m sequences and all weights but
the routed experts, which the ranks of all groups divide; their tokens are gathered before the
experts and scattered after them.

With p pipeline stages each works on its own `m = batch / p` sequences, so that a token still takes
the time of all layers, and a share more for each further stage. Form: Pope et al. 2022 (arXiv
2211.05102) for the two limits; efficiencies, overheads and overlap from measured rows
(`calibration_data/serving.json`).
"""

from __future__ import annotations

from dataclasses import replace

from service.core.hardware import Device
from service.core.numeric import Number, maximum, minimum, power, where
from service.core.serving.load import Engine, Replica
from service.core.serving.tables import ServingTable, context_flops

CHUNK_TOKENS = 512.0
"""Tokens of a prompt that a pipeline stage takes at once (llama.cpp's micro-batch)."""


def experts_read(table: ServingTable, tokens: Number) -> Number:
    """Share of the routed experts that `tokens` tokens use: `1 - (1 - k/E)^n`, routed evenly."""
    ratio = table.active_experts / maximum(table.experts, 1.0)
    return where(table.experts > 0, 1.0 - power(1.0 - minimum(ratio, 0.999999), tokens), 1.0)


def decode_step_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds of one step that decodes the whole batch, without any prompt in it."""
    return _step_seconds(table, replica, device, engine, 0.0)


def seconds_per_step(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Mean seconds of a step under continuous batching: the neighbours' prompts included."""
    others = maximum(replica.own_sequences - 1.0, 0.0) / replica.pipeline
    return _step_seconds(table, replica, device, engine, others / _steps(replica))


def _steps(replica: Replica) -> Number:
    return maximum(replica.output_tokens / replica.tokens_per_step, 1.0)


def _step_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, prompts: Number
) -> Number:
    """One step with that many prompts (a fraction) beside the decoded sequences."""
    sequences = _sequences(replica)
    tokens = sequences * (1.0 + replica.drafted_tokens)
    reading = _reading_seconds(table, replica, device, engine)
    computing = _computing_seconds(table, replica, device, engine, prompts)
    new = maximum(replica.prompt_tokens - replica.cached_prefix, 1.0)
    reduces = _reduce_seconds(table, replica, device, engine, tokens + prompts * new)
    waited = 1.0 + where(replica.data > 1.0, engine.dealing_cost, 0.0)
    busy = waited * _joined(reading, computing, engine) + reduces
    step = _launched(busy, table, replica, engine) + engine.sequence_seconds * sequences
    return step * (1.0 + engine.stage_cost * (minimum(replica.batch, replica.pipeline) - 1.0))


def _sequences(replica: Replica) -> Number:
    """Sequences that one pipeline stage works on at once."""
    return maximum(replica.own_sequences / replica.pipeline, 1.0)


def _context(replica: Replica) -> Number:
    """Tokens that a decoded token sees, on average over its sequence's life."""
    return replica.prompt_tokens + 0.5 * replica.output_tokens


def _reading_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    sequences = _sequences(replica)
    tokens = sequences * (1.0 + replica.drafted_tokens)
    weights = _weights_seconds(table, replica, device, engine, tokens)
    held = table.cache.sequence(_context(replica), replica.tensor, replica.prompt_tokens)
    return weights + sequences * held / (device.memory_bandwidth * engine.cache_efficiency)


def _computing_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, prompts: Number
) -> Number:
    tokens = _sequences(replica) * (1.0 + replica.drafted_tokens)
    per_token = table.token_flops + table.expert_flops / engine.expert_efficiency
    products = tokens * (per_token / device.peak_flops)
    products = products + (tokens + prompts) * (table.head_flops / device.wide_peak_flops)
    attention = tokens * context_flops(table, _context(replica), replica.prompt_tokens)
    attention = attention / (device.wide_peak_flops * engine.attention_efficiency)
    decoding = (products / engine.compute_efficiency + attention) / replica.tensor
    decoding = decoding + _moving_seconds(table, replica, device, engine, tokens)
    return decoding + prompts * _prompt_computing(table, replica, device, engine)


def _moving_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    """Seconds in which the activations of that many tokens pass through memory."""
    each = table.moved / replica.tensor + table.moved_whole
    return tokens * each / (device.memory_bandwidth * engine.bandwidth_efficiency)


def request_flops(table: ServingTable, replica: Replica) -> Number:
    """Model FLOPs of one request: its new prompt tokens and its output."""
    prompt, cached = replica.prompt_tokens, replica.cached_prefix
    new = maximum(prompt - cached, 1.0)
    pairs = table.prompt_pairs.at(prompt) - table.prompt_pairs.at(minimum(cached, prompt))
    reading = table.prompt.fixed + (table.prompt.linear + table.expert_flops) * new + pairs
    per_token = table.token_flops + table.expert_flops + table.head_flops
    per_token = per_token + context_flops(table, _context(replica), prompt)
    return reading + per_token * replica.output_tokens


def _joined(reading: Number, computing: Number, engine: Engine) -> Number:
    longer, shorter = maximum(reading, computing), minimum(reading, computing)
    return longer + (1.0 - engine.overlap) * shorter


def _weights_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    used = experts_read(table, tokens * replica.data)
    read = table.step_bytes / replica.tensor + table.expert_bytes * used / replica.ranks
    return read / (device.memory_bandwidth * engine.bandwidth_efficiency)


def _launched(busy: Number, table: ServingTable, replica: Replica, engine: Engine) -> Number:
    """Seconds of a pass whose kernels run for `busy` seconds, launches included."""
    split = where(replica.ranks > 1.0, engine.tensor_layer_seconds, 0.0)
    graphs = busy + table.layers * (engine.layer_seconds + split)
    eager = maximum(busy, table.launches * engine.launch_seconds + table.layers * split)
    return where(engine.eager > 0.0, eager, graphs) + engine.step_seconds


def _reduce_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    """All-reduces of one pass over a group's `tokens` in 16 bits: `2 (t - 1)/t` of the payload.

    The tokens of all groups are gathered for the routed experts and scattered again: as much.
    """
    dense = _ring(replica.tensor) * (table.reduced - table.dispatched)
    routed = _ring(replica.ranks) * table.dispatched * replica.data
    payload = 2.0 * (dense + routed) * tokens
    return payload / (device.scale_up_bandwidth * engine.link_efficiency)


def _ring(ranks: Number) -> Number:
    """Elements that one rank sends in an all-reduce, for each element that is summed."""
    return 2.0 * (ranks - 1.0) / ranks


def _prompt_computing(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds of a prompt's kernels, all layers, without its last token's head."""
    prompt, cached = replica.prompt_tokens, replica.cached_prefix
    new = maximum(prompt - cached, 1.0)
    per_token = table.prompt.linear + table.expert_flops / engine.expert_efficiency
    products = (table.prompt.fixed + per_token * new) / device.peak_flops
    pairs = table.prompt_pairs.at(prompt) - table.prompt_pairs.at(minimum(cached, prompt))
    attention = maximum(pairs, 0.0) / (device.wide_peak_flops * engine.attention_efficiency)
    computing = (products / engine.compute_efficiency + attention) / replica.tensor
    return computing + _moving_seconds(table, replica, device, engine, new)


def prefill_seconds(
    table: ServingTable,
    replica: Replica,
    device: Device,
    engine: Engine,
    prompts: Number = 1.0,
) -> Number:
    """Seconds to process one prompt, or some together, on an idle replica (no queue, so no load).

    Of data-parallel groups each has as many.
    """
    new = prompts * maximum(replica.prompt_tokens - replica.cached_prefix, 1.0)
    computing = prompts * _prompt_computing(table, replica, device, engine)
    computing = computing + prompts * table.head_flops / (
        device.wide_peak_flops * engine.compute_efficiency * replica.tensor
    )
    reading = _weights_seconds(table, replica, device, engine, new)
    reduces = _reduce_seconds(table, replica, device, engine, new)
    busy = _joined(reading, computing, engine) + reduces
    return _launched(busy * _pipelined(replica, engine, new), table, replica, engine)


def _pipelined(replica: Replica, engine: Engine, tokens: Number) -> Number:
    """Time of a prompt in chunks over stages that work at once, over its time in one piece.

    Ideal: `(n + p - 1) / (n p)` for n chunks (GPipe, arXiv 1811.06965, section 2).
    """
    chunks = maximum(tokens / CHUNK_TOKENS, 1.0)
    ideal = (chunks + replica.pipeline - 1.0) / (chunks * replica.pipeline)
    return 1.0 - engine.pipelining * (1.0 - ideal)


def first_token_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """From arrival to the first token while `batch` requests are always in progress.

    `a prefill + b step + c (batch - 1) prefill`: its own prompt, the steps that it waits for, and
    the part of its neighbours' prompts that comes before it. Measured under closed loads; a
    burst of arrivals waits longer.
    """
    prompt = prefill_seconds(table, replica, device, engine)
    neighbours = maximum(replica.own_sequences - 1.0, 0.0)
    waiting = engine.first_prompt + engine.first_neighbours * neighbours
    step = seconds_per_step(table, replica, device, engine)
    return waiting * prompt + engine.first_steps * step


def bandwidth_utilization(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Bytes read in a step over what the memory could have delivered meanwhile."""
    ideal = replace(engine, bandwidth_efficiency=1.0, cache_efficiency=1.0)
    reading = _reading_seconds(table, replica, device, ideal)
    return minimum(reading / seconds_per_step(table, replica, device, engine), 1.0)


def speculative_tokens(drafted: Number, acceptance: Number) -> Number:
    """Expected tokens a verification: `(1 - a^(n+1)) / (1 - a)` (Leviathan 2022, eq. 1)."""
    a = minimum(acceptance, 1.0 - 1e-9)
    return (1.0 - power(a, drafted + 1.0)) / (1.0 - a)
