"""Prefill and decode time of one replica.

A decode step reads the weights that its tokens use and their caches once, and computes. Under
continuous batching it also carries the prompts that arrive meanwhile: `batch` of them for each
`output_tokens` steps. The longer of reading and computing counts, plus a part of the shorter one,
plus overheads that small models and batches pay:

    step = layers (c0 + c1 [t > 1]) + c2 + c3 m + all-reduces
           + max(M, C) + (1 - overlap) min(M, C)
    M = weights / (t bandwidth e_w) + m cache / (bandwidth e_k)
    C = FLOPs / (t peak e_c)

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
    others = maximum(replica.batch - 1.0, 0.0) / replica.pipeline
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
    overhead = _overhead(table, replica, engine) + engine.sequence_seconds * sequences
    step = _joined(reading, computing, engine) + reduces + overhead
    return step * (1.0 + engine.stage_cost * (minimum(replica.batch, replica.pipeline) - 1.0))


def _sequences(replica: Replica) -> Number:
    """Sequences that one pipeline stage works on at once."""
    return maximum(replica.batch / replica.pipeline, 1.0)


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
    return decoding + prompts * _prompt_computing(table, replica, device, engine)


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
    read = table.step_bytes + table.expert_bytes * experts_read(table, tokens)
    return read / (replica.tensor * device.memory_bandwidth * engine.bandwidth_efficiency)


def _overhead(table: ServingTable, replica: Replica, engine: Engine) -> Number:
    split = where(replica.tensor > 1.0, engine.tensor_layer_seconds, 0.0)
    return table.layers * (engine.layer_seconds + split) + engine.step_seconds


def _reduce_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine, tokens: Number
) -> Number:
    """All-reduces of one pass over `tokens` in 16 bits: `2 (t - 1)/t` times the payload."""
    payload = 2.0 * table.reduced * tokens
    ring = 2.0 * (replica.tensor - 1.0) / replica.tensor
    return ring * payload / (device.scale_up_bandwidth * engine.link_efficiency)


def _prompt_computing(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds of arithmetic for one prompt, all layers, without its last token's head."""
    prompt, cached = replica.prompt_tokens, replica.cached_prefix
    new = maximum(prompt - cached, 1.0)
    per_token = table.prompt.linear + table.expert_flops / engine.expert_efficiency
    products = (table.prompt.fixed + per_token * new) / device.peak_flops
    pairs = table.prompt_pairs.at(prompt) - table.prompt_pairs.at(minimum(cached, prompt))
    attention = maximum(pairs, 0.0) / (device.wide_peak_flops * engine.attention_efficiency)
    return (products / engine.compute_efficiency + attention) / replica.tensor


def prefill_seconds(
    table: ServingTable, replica: Replica, device: Device, engine: Engine
) -> Number:
    """Seconds to process one prompt on an idle replica (no queue, so no load)."""
    new = maximum(replica.prompt_tokens - replica.cached_prefix, 1.0)
    computing = _prompt_computing(table, replica, device, engine)
    computing = computing + table.head_flops / (
        device.wide_peak_flops * engine.compute_efficiency * replica.tensor
    )
    reading = _weights_seconds(table, replica, device, engine, new)
    reduces = _reduce_seconds(table, replica, device, engine, new)
    busy = _joined(reading, computing, engine) + reduces
    return busy * _pipelined(replica, engine, new) + _overhead(table, replica, engine)


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
    waiting = engine.first_prompt + engine.first_neighbours * maximum(replica.batch - 1.0, 0.0)
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
