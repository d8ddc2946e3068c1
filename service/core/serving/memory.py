"""Bytes of a replica's devices: weights, caches, and what an engine leaves for them."""

from __future__ import annotations

from service.core.hardware import Device
from service.core.numeric import Number, ceil, floor, maximum
from service.core.serving.load import Engine, Replica
from service.core.serving.tables import ServingTable


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


def reserved_bytes_per_sequence(table: ServingTable, replica: Replica, tokens: Number) -> Number:
    """The same where an engine keeps sliding-window layers at full length."""
    elements = table.cache.reserved(tokens, replica.tensor, replica.prompt_tokens)
    return elements * table.cache_bytes / replica.pipeline
