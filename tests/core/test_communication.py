"""Collectives over the link that they really use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.communication import (
    Links,
    exchange_calls_seconds,
    exchange_seconds_per_byte,
    gather_seconds_per_byte,
    reduce_seconds_per_byte,
    ring_bandwidth,
    ring_calls_seconds,
    send_seconds_per_byte,
)

LINKS = Links(inside=300e9, outside=25e9, devices_per_node=8.0, call_seconds=1e-4)
POWERS = st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])


def test_a_group_inside_a_node_uses_the_inner_link() -> None:
    assert ring_bandwidth(8.0, 1.0, LINKS) == 300e9
    assert ring_bandwidth(2.0, 4.0, LINKS) == 300e9


def test_a_group_of_one_rank_a_node_has_one_network_card() -> None:
    assert ring_bandwidth(16.0, 8.0, LINKS) == 25e9


def test_a_group_that_fills_its_nodes_uses_all_their_network_cards() -> None:
    assert ring_bandwidth(16.0, 1.0, LINKS) == 8 * 25e9
    assert ring_bandwidth(16.0, 2.0, LINKS) == 4 * 25e9


def test_no_ring_is_faster_than_the_inner_link() -> None:
    wide = LINKS._replace(outside=1e12)
    assert ring_bandwidth(64.0, 1.0, wide) == 300e9


def test_one_rank_sends_nothing() -> None:
    assert gather_seconds_per_byte(1.0, 1.0, LINKS) == 0.0
    assert exchange_seconds_per_byte(1.0, 1.0, 8.0, LINKS) == 0.0
    assert ring_calls_seconds(1.0, LINKS) == 0.0
    assert exchange_calls_seconds(1.0, LINKS) == 0.0


def test_calls_cost_by_the_doublings_of_a_ring_and_once_in_an_exchange() -> None:
    assert [ring_calls_seconds(n, LINKS) for n in (2.0, 8.0, 64.0)] == pytest.approx(
        [1e-4, 3e-4, 6e-4]
    )
    assert exchange_calls_seconds(2.0, LINKS) == exchange_calls_seconds(64.0, LINKS) == 1e-4


def test_an_all_reduce_of_eight_moves_seven_quarters_of_its_bytes() -> None:
    assert reduce_seconds_per_byte(8.0, 1.0, LINKS) == pytest.approx(2 * 7 / 8 / 300e9)


def test_an_exchange_between_nodes_waits_for_the_network() -> None:
    # 16 ranks on 2 nodes: half of the bytes cross, over one card a rank.
    assert exchange_seconds_per_byte(16.0, 1.0, 1.0, LINKS) == pytest.approx(8 / 16 / 25e9)


def test_a_node_is_sent_one_copy_of_a_token_for_all_its_experts() -> None:
    # Of 8 experts drawn on 2 nodes, the other node has one but for one draw in 2^8.
    reached = 1 - 2**-8
    assert exchange_seconds_per_byte(16.0, 1.0, 8.0, LINKS) == pytest.approx(reached / 8 / 25e9)


def test_a_message_crosses_nodes_once_the_ranks_lie_that_far_apart() -> None:
    assert send_seconds_per_byte(4.0, LINKS) == 1 / 300e9
    assert send_seconds_per_byte(8.0, LINKS) == 1 / 25e9


@given(size=POWERS, stride=POWERS)
def test_more_distance_never_makes_a_collective_faster(size: float, stride: float) -> None:
    near = gather_seconds_per_byte(size, stride, LINKS)
    assert gather_seconds_per_byte(size, 2 * stride, LINKS) >= near
    for copies in (1.0, 8.0):
        nearer = exchange_seconds_per_byte(size, stride, copies, LINKS)
        assert exchange_seconds_per_byte(size, 2 * stride, copies, LINKS) >= nearer * (1 - 1e-9)


@given(size=POWERS, stride=POWERS)
def test_arrays_give_what_floats_give(size: float, stride: float) -> None:
    sizes, strides = np.array([size, 3.0]), np.array([stride, 1.0])
    gathered = gather_seconds_per_byte(sizes, strides, LINKS)[0]
    assert gathered == pytest.approx(gather_seconds_per_byte(size, stride, LINKS))
    exchanged = exchange_seconds_per_byte(sizes, strides, 8.0, LINKS)[0]
    assert exchanged == pytest.approx(exchange_seconds_per_byte(size, stride, 8.0, LINKS))
    assert ring_calls_seconds(sizes, LINKS)[0] == pytest.approx(ring_calls_seconds(size, LINKS))
