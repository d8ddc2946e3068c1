"""Seconds of collective operations over the link that they really use.

Ranks are laid out tensor first, then context, then data (experts within it), pipeline last, as
Megatron does, so a group of `size` ranks that are `stride` apart stays inside a node as long as
`size * stride` devices fit in one. Where it spans nodes, a ring enters each node once for all the
group's members there, and uses all their network cards. Bandwidth terms are those of ring
algorithms (Thakur et al. 2005, "Optimization of collective communication operations in MPICH").
"""

from __future__ import annotations

import math
from typing import NamedTuple

from service.core.numeric import Number, log, maximum, minimum, where

LOG_2 = math.log(2.0)


class Links(NamedTuple):
    """Bandwidths that collectives reach, bytes/s one way, and the time of one call."""

    inside: Number
    outside: Number
    """One device's share of the network between nodes."""
    devices_per_node: Number
    call_seconds: Number


def members_per_node(size: Number, stride: Number, links: Links) -> Number:
    """Members of the group that share a node."""
    return minimum(size, maximum(links.devices_per_node / stride, 1.0))


def ring_bandwidth(size: Number, stride: Number, links: Links) -> Number:
    """Bytes/s at which a ring of the group moves data."""
    crossing = minimum(links.inside, members_per_node(size, stride, links) * links.outside)
    return where(size * stride <= links.devices_per_node, links.inside, crossing)


def gather_seconds_per_byte(size: Number, stride: Number, links: Links) -> Number:
    """An all-gather or a reduce-scatter, for each byte of the full result."""
    return (size - 1.0) / size / ring_bandwidth(size, stride, links)


def reduce_seconds_per_byte(size: Number, stride: Number, links: Links) -> Number:
    """An all-reduce: a reduce-scatter and an all-gather."""
    return 2.0 * gather_seconds_per_byte(size, stride, links)


def exchange_seconds_per_byte(size: Number, stride: Number, copies: Number, links: Links) -> Number:
    """An all-to-all, for each byte that one rank holds: the slower of the two kinds of link.

    Each token has `copies` of itself among the bytes, for as many members drawn at random. A node
    is sent one of them, which it hands on inside (DeepSeek-AI 2024, arXiv 2412.19437, section
    3.2.2): of n nodes, 1 - (1 - 1/n)^copies of the others get one.
    """
    near = members_per_node(size, stride, links)
    nodes = size / near
    inside = (size - 1.0) / size / links.inside
    reached = (nodes - 1.0) * (1.0 - (1.0 - 1.0 / nodes) ** copies) / copies
    return maximum(inside, reached / links.outside)


def send_seconds_per_byte(stride: Number, links: Links) -> Number:
    """A message to the rank `stride` devices further on."""
    return 1.0 / where(stride < links.devices_per_node, links.inside, links.outside)


def ring_calls_seconds(size: Number, links: Links) -> Number:
    """What a collective costs beside its bytes: ranks wait for each other, the more the more.

    Growth with the logarithm of the group: vTrain's rows give 0.4, 0.65 and 0.9 ms a call for 2,
    4 and 8 ranks, whatever the bytes.
    """
    return log(size) / LOG_2 * links.call_seconds


def exchange_calls_seconds(size: Number, links: Links) -> Number:
    """All messages of an all-to-all start at once; 0 for a group of one."""
    return where(size > 1, links.call_seconds, 0.0)
