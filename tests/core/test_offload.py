"""Steps with states in host memory against arithmetic by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from service.calibration.measured import accelerator
from service.core import parameters
from service.core.architecture.families import shapes
from service.core.estimate import Prepared, prepare, timed
from service.core.offload import UPDATE_SECONDS, Host, host, link_bandwidth
from service.core.parallelism import Kernels, Layout

NETWORK = shapes.gpt(24, 2048, 16, vocabulary=51200, positions=1024)
CARD = accelerator("a100-sxm4-80gb")
TRAINED = parameters.count(NETWORK).trainable
LAYOUT = Layout(devices=16.0, zero_stage=1.0, micro_batch_size=1.0, global_batch_size=64.0)
LINK = 0.75 * 31.5e9


def job(offload: str) -> Prepared:
    return prepare(NETWORK, Kernels(offload=offload), CARD, 1, 1024.0)


def test_each_node_updates_its_share_and_each_device_gets_its_own_back() -> None:
    """16 devices of two nodes: half of all parameters a node, a sixteenth a device."""
    step, items = timed(job("optimizer"), LAYOUT)
    assert items.host is not None
    by_hand = TRAINED / 2.0 * UPDATE_SECONDS.value + 2.0 * TRAINED / 16.0 / LINK
    assert items.host.value == pytest.approx(by_hand, rel=0.01)
    devices = step.total_seconds - step.optimizer_seconds
    assert items.total.value == pytest.approx(devices + by_hand, rel=1e-3)
    assert items.total.low < items.total.value < items.total.high


def test_without_sharding_a_node_updates_what_each_of_its_devices_holds() -> None:
    whole = timed(job("optimizer"), replace(LAYOUT, zero_stage=0.0))[1].host
    shared = timed(job("optimizer"), LAYOUT)[1].host
    assert whole is not None
    assert shared is not None
    assert whole.value == pytest.approx(16.0 * shared.value, rel=0.01)


def test_parameters_are_fetched_beside_the_work_of_each_micro_batch() -> None:
    """Four micro-batches, twice each, two bytes of a sixteenth of the parameters."""
    sharded = replace(LAYOUT, zero_stage=3.0)
    step, items = timed(job("parameters"), sharded)
    assert items.host is not None
    fetched = 4.0 * 2.0 * 2.0 * TRAINED / 16.0 / LINK
    beside = math.hypot(step.total_seconds - step.optimizer_seconds, fetched)
    assert items.total.value == pytest.approx(beside + items.host.value, rel=1e-3)


def test_nothing_changes_where_all_stays_on_the_devices() -> None:
    plain = timed(job("none"), LAYOUT)[1]
    assert plain.host is None
    neutral = timed(replace(job("none"), host=Host()), LAYOUT)[1]
    assert list(neutral.total) == pytest.approx(list(plain.total))


def test_arrays_are_answered_as_floats_are() -> None:
    layouts = replace(LAYOUT, devices=np.array([8.0, 16.0]))
    found = timed(job("parameters"), layouts)[1].total
    single = timed(job("parameters"), LAYOUT)[1].total
    assert [bound[1] for bound in found] == pytest.approx(list(single))


def test_the_way_to_host_memory_is_as_wide_as_in_the_accelerators_year() -> None:
    years = (2017, 2018, 2020, 2022, 2024)
    assert [link_bandwidth(year) for year in years] == [15.75e9, 15.75e9, 31.5e9, 63e9, 63e9]
    assert host("none", CARD) is None
    assert host("optimizer", CARD) == Host(1.0, 0.0, 31.5e9)
    assert host("parameters", CARD) == Host(1.0, 1.0, 31.5e9)
