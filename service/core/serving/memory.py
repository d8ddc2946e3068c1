"""Bytes of a replica's devices: weights, caches, and what an engine leaves for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.core.hardware import Device
from service.core.kv_cache import BLOCK_TOKENS
from service.core.numeric import Number, ceil, floor, maximum, minimum, where
from service.core.serving.load import Replica
from service.core.serving.tables import ServingTable


@dataclass(frozen=True)
class Budget:
    """How an engine divides a device's memory."""

    fraction: float
    """Share of the memory that it takes."""
    of: str
    """What the share is of: `total` (all of it, weights and workspaces included), `static` (total,
    workspaces apart) or `free` (what weights and workspaces leave)."""
    batched_tokens: float
    """Tokens of one scheduled pass, which size the workspace; 0 where a pass takes the prompts of
    all sequences, however long."""
    sequences: float
    """Sequences that one step may hold."""
    sampled: float
    """Sequences whose logits the workspace holds."""
    streams: float
    """Results of the hidden size that a token holds beside its widest layer's three."""
    fixed_bytes: float
    """Context, graphs and libraries of one device."""
    tensor_bytes: float
    """What communication adds as soon as a replica is divided over devices."""
    source: str


USABLE = 0.985
"""Of the nominal memory, what a process finds: start-up logs say 23.58 of 24, 79.22 of 80 GiB."""

BUDGETS: Mapping[str, Budget] = {
    "vllm": Budget(0.9, "total", 8192, 1024, 1024, 3, 0.75e9, 1.5e9, "gpu_memory_utilization 0.9"),
    "sglang": Budget(0.88, "static", 8192, 1024, 256, 3, 0.75e9, 1.0e9, "mem_fraction_static 0.88"),
    "tensorrt-llm": Budget(
        0.9, "free", 8192, 2048, 256, 3, 1.5e9, 0.0, "free_gpu_memory_fraction 0.9"
    ),
    "llama.cpp": Budget(1.0, "total", 512, 1, 1, 3, 0.6e9, 0.0, "all that is there"),
    "transformers": Budget(1.0, "total", 0, 64, 0, 4, 0.8e9, 0.0, "all that is there"),
}
"""Defaults of the engines' documentation; fixed parts as start-up logs of 2024 and 2025 show."""

DEFAULT_BUDGET = Budget(0.9, "total", 8192, 1024, 256, 3, 1.0e9, 1.0e9, "as of a server engine")


def budget(engine: str) -> Budget:
    """The rule of an engine; a server's where it is not known."""
    return BUDGETS.get(engine, DEFAULT_BUDGET)


def weights_bytes_per_device(table: ServingTable, replica: Replica) -> Number:
    """Bytes of weights on one device."""
    dense = (table.weights_bytes - table.expert_bytes) / replica.tensor
    return (dense + table.expert_bytes / replica.ranks) / replica.pipeline


def workspace_bytes(table: ServingTable, replica: Replica, rule: Budget) -> Number:
    """Bytes of one scheduled pass's activations and of the sampler's logits."""
    passing = rule.batched_tokens * _bytes_per_token(table, replica, rule)
    return passing + rule.sampled * _logits_bytes(table, replica)


def workspace_bytes_per_sequence(table: ServingTable, replica: Replica, rule: Budget) -> Number:
    """The same of each sequence, where a pass takes whole prompts; else 0."""
    new = maximum(replica.prompt_tokens - replica.cached_prefix, 1.0)
    prompt = new * _bytes_per_token(table, replica, rule) + _logits_bytes(table, replica)
    return prompt if rule.batched_tokens == 0 else 0.0 * prompt


def _bytes_per_token(table: ServingTable, replica: Replica, rule: Budget) -> Number:
    """`6 f / t + 2 s d`: in 16 bits, gate, up and their product, f wide, and s results d wide.

    s is 3 in vLLM's log for Llama-3.1-8B (110 kB a token, issue 10517), and 4 in what Qwen2.5 was
    measured to allocate under transformers (7.9 at 30,720 tokens, `data/serving_memory.csv`).
    """
    return 6.0 * table.widest / replica.tensor + 2.0 * rule.streams * table.hidden


def _logits_bytes(table: ServingTable, replica: Replica) -> Number:
    """Logits of one token in 16 bits and, twice, in 32."""
    return 10.0 * table.vocabulary / replica.tensor


def reserved_bytes(table: ServingTable, replica: Replica, rule: Budget) -> Number:
    """What is neither weights nor cache: context, graphs, workspaces; bytes a device."""
    divided = where(replica.ranks > 1.0, rule.tensor_bytes, 0.0)
    return rule.fixed_bytes + divided + workspace_bytes(table, replica, rule)


def cache_bytes_per_sequence(table: ServingTable, replica: Replica, tokens: Number) -> Number:
    """Bytes of one sequence's cache on one device: the architecture's minimum, whole blocks."""
    held = table.cache.sequence(_blocks(tokens), replica.tensor, replica.prompt_tokens)
    return held / replica.pipeline


def reserved_bytes_per_sequence(
    table: ServingTable, replica: Replica, tokens: Number, slack: Number = float("inf")
) -> Number:
    """The same where an engine keeps `slack` tokens beyond each sliding window (default: all)."""
    held = table.cache.reserved(_blocks(tokens), replica.tensor, replica.prompt_tokens, slack)
    return held / replica.pipeline


def _blocks(tokens: Number) -> Number:
    return ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS


def capacity_bytes(table: ServingTable, replica: Replica, device: Device, rule: Budget) -> Number:
    """What weights, caches and workspaces may take together on one device."""
    usable = device.memory_bytes * USABLE
    if rule.of == "total":
        return usable * rule.fraction
    reserved = reserved_bytes(table, replica, rule)
    if rule.of == "static":
        return minimum(usable * rule.fraction + reserved, usable)
    kept = weights_bytes_per_device(table, replica) + reserved
    return kept + maximum(usable - kept, 0.0) * rule.fraction


def cache_budget_bytes(
    table: ServingTable, replica: Replica, device: Device, rule: Budget
) -> Number:
    """Bytes that an engine has for caches on one device; 0 where the weights do not fit."""
    kept = weights_bytes_per_device(table, replica) + reserved_bytes(table, replica, rule)
    return maximum(capacity_bytes(table, replica, device, rule) - kept, 0.0)


def max_concurrency(
    table: ServingTable, replica: Replica, device: Device, rule: Budget, tokens: Number
) -> Number:
    """Sequences of that many tokens that one replica holds at once.

    With the longest sequence this is a floor; with the mean one, what a mixed load admits.
    """
    each = cache_bytes_per_sequence(table, replica, tokens)
    each = maximum(each + workspace_bytes_per_sequence(table, replica, rule), 1.0)
    in_a_group = floor(cache_budget_bytes(table, replica, device, rule) / each)
    return in_a_group * replica.data
