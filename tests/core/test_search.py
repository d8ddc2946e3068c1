"""The search against a plain loop over every layout."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from service.core.architecture.families import shapes
from service.core.architecture.network import Network
from service.core.estimate import AT_RISK, DOES_NOT_FIT, FITS, Estimate
from service.core.hardware import Accelerator
from service.core.layout_choice import admission_of_states, best_layout, usual_space
from service.core.layout_neighbours import neighbours
from service.core.layout_space import RECOMPUTATIONS, Question, Space, divisors, fault, layouts
from service.core.parallelism import Kernels, Layout
from service.core.parameters import count
from service.core.search import (
    Caps,
    Terms,
    estimate_of,
    pareto,
    search,
)
from service.core.spending import Site

ACCELERATOR = Accelerator(
    "h100-sxm",
    "NVIDIA",
    2022,
    6.0 * 2**30,
    3.35e12,
    {"fp32": 67e12, "bf16": 989e12, "fp8": 1979e12},
    450e9,
    50e9,
    8,
    700.0,
    130.0,
    (20.0, 160.0, 570.0),
)
TERMS = Terms(1e9, Site(400.0, 1.2), 2.5)


def small(layers: int = 6, heads: int = 4) -> Network:
    return shapes.llama(layers, 512 * heads, heads, vocabulary=32000)


def question(network: Network, batch: float = 16.0) -> Question:
    return Question(network, Kernels(), ACCELERATOR, 2048.0, batch)


def brute_force(asked: Question, devices: int) -> dict[tuple[float, ...], Estimate]:
    """Every combination of every divisor, tried one by one."""
    ways = divisors(devices)
    found = {}
    chunks = sorted({*divisors(asked.network.layers), 1, 2, 4, 8})
    for tensor, pipeline, context, interleave, size, stage, named in product(
        ways, ways, ways, chunks, divisors(int(asked.global_batch_size)), range(4), RECOMPUTATIONS
    ):
        layout = Layout(
            float(devices),
            float(tensor),
            float(pipeline),
            float(context),
            zero_stage=float(stage),
            sequence_parallel=float(tensor > 1),
            interleave=float(interleave),
            micro_batch_size=float(size),
            global_batch_size=asked.global_batch_size,
        )
        if fault(asked.network, layout, asked.sequence_length, asked.global_batch_size) is None:
            found[
                (tensor, pipeline, context, interleave, size, stage, RECOMPUTATIONS.index(named))
            ] = estimate_of(asked, TERMS, layout, named)
    return found


def test_the_search_finds_what_a_plain_loop_over_all_layouts_finds() -> None:
    asked = question(small())
    expected = brute_force(asked, 8)
    fitting = {key: e for key, e in expected.items() if e.admission == FITS}
    found = search(asked, TERMS, Space((8,)))

    assert found.considered == len(expected)
    assert found.fitting == len(fitting)
    assert 0 < found.fitting < found.considered
    seen = {}
    for index in range(len(found.objectives)):
        layout = found.layouts
        key = tuple(
            float(column[index])
            for column in (
                layout.tensor,
                layout.pipeline,
                layout.context,
                layout.interleave,
                layout.micro_batch_size,
                layout.zero_stage,
            )
        )
        seen[(*key, int(found.recomputation[index]))] = found.objectives[index]
    assert set(seen) == set(fitting)
    for key, estimate in fitting.items():
        wanted = (
            estimate.wall_clock_seconds.value,
            estimate.spent.usd.value,
            estimate.spent.total_kgco2e.value,
            8.0,
        )
        assert seen[key] == pytest.approx(wanted, rel=1e-12)
    best = min(fitting.values(), key=lambda e: e.wall_clock_seconds.value)
    chosen = found.best()
    assert chosen is not None
    assert found.objectives[chosen, 0] == pytest.approx(best.wall_clock_seconds.value, rel=1e-12)


def test_no_layout_of_the_front_is_beaten_and_every_other_one_is() -> None:
    found = search(question(small()), TERMS, Space((2, 4, 8)))
    front = found.objectives[list(found.pareto)]
    for row in found.objectives:
        beaten = ((front <= row).all(axis=1) & (front < row).any(axis=1)).any()
        equal = (front == row).all(axis=1).any()
        assert beaten != equal
    assert len({tuple(row) for row in front}) == len(front)


def test_the_front_of_random_points_is_what_a_plain_loop_says() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(0, 6, size=(200, 4)).astype(float)
    expected = {
        tuple(p) for p in points if not any((q <= p).all() and (q < p).any() for q in points)
    }
    assert {tuple(points[i]) for i in pareto(points)} == expected


def test_caps_leave_only_what_keeps_them() -> None:
    asked, space = question(small()), Space((2, 4, 8))
    everything = search(asked, TERMS, space)
    middle = float(np.median(everything.objectives[:, 1]))
    capped = search(asked, TERMS, space, Caps(usd=middle))
    assert len(capped.objectives) == int((everything.objectives[:, 1] <= middle).sum())
    assert capped.objectives[:, 1].max() <= middle


def test_an_estimate_of_the_front_is_the_single_estimate() -> None:
    found = search(question(small()), TERMS, Space((8,)))
    for index in found.pareto:
        _, _, estimate = found.at(index)
        assert estimate.wall_clock_seconds.value == pytest.approx(
            found.objectives[index, 0], rel=1e-12
        )


def test_each_neighbour_of_the_fastest_layout_loses_for_a_stated_reason() -> None:
    found = search(question(small()), TERMS, Space((8,)))
    chosen = found.best()
    assert chosen is not None
    listed = neighbours(found, chosen)
    assert len(listed) >= 8
    for neighbour in listed:
        assert "faster" not in neighbour.reason
        assert neighbour.change.count("->") == 1


def test_the_layout_for_a_request_without_one_is_the_fastest_of_its_space() -> None:
    asked = question(small())
    space = usual_space(asked, 8)
    answer = best_layout(asked, space)
    assert answer is not None
    layout, recomputation, code = answer
    found = search(asked, TERMS, space)
    assert code == FITS
    chosen = found.best()
    assert chosen is not None
    given = replace(layout, searched=0.0)
    assert estimate_of(asked, TERMS, given, recomputation).wall_clock_seconds.value == (
        pytest.approx(found.objectives[chosen, 0], rel=1e-12)
    )


def test_a_model_too_large_for_its_devices_gets_the_layout_that_needs_least() -> None:
    answer = best_layout(question(small(40, 16)), usual_space(question(small()), 1))
    assert answer is not None
    assert answer[2] != FITS
    assert answer[1] == "full"


def test_without_data_parallel_ranks_there_is_nothing_for_zero_to_divide() -> None:
    network = small()
    one, stages = layouts(network, Space((4,), tensor=(4,)), 2048, 16)
    assert stages == (0,)
    assert set(one.data) == {1.0}
    _, stages = layouts(network, Space((8,), tensor=(4,)), 2048, 16)
    assert stages == (0, 1, 2, 3)


def test_what_is_usual_stays_inside_a_node_and_goes_in_powers_of_two() -> None:
    asked = question(small())
    node, cluster = usual_space(asked, 8), usual_space(asked, 32)
    assert node.tensor == cluster.tensor == (1, 2, 4, 8)
    assert node.pipeline is not None
    assert node.pipeline[:5] == (1, 2, 4, 8, 16)
    assert node.micro_batch_size == (1, 2, 4, 8, 16, 32, 64)
    assert (node.interleave, cluster.interleave) == ((1,), (1, 2, 4, 8))
    assert usual_space(asked, 1).zero_stage == (0,)
    assert usual_space(asked, 2).zero_stage == (1, 3)


def test_pipeline_stages_have_the_factor_of_the_devices_that_the_batch_lacks() -> None:
    asked = question(small())
    found = best_layout(asked, usual_space(asked, 24))
    assert found is not None
    layout = found[0]
    assert layout.pipeline % 3 == 0
    assert 16.0 % (layout.data * layout.micro_batch_size) == 0.0
    thirds = question(small(), 48.0)
    assert usual_space(thirds, 24).pipeline == usual_space(thirds, 8).pipeline


def test_states_alone_decide_where_no_layout_can_help() -> None:
    """18 bytes a parameter under bf16-mixed, and what the interval adds, spread evenly."""
    network = small()
    states = 18.0 * count(network).total
    capacity = ACCELERATOR.memory_bytes
    found = [admission_of_states(question(network), states / capacity / x) for x in (0.3, 1.0, 3.0)]
    assert found == [FITS, AT_RISK, DOES_NOT_FIT]


@pytest.mark.parametrize(("offload", "width"), [("optimizer", 6.0), ("parameters", 4.0)])
def test_states_in_host_memory_take_none_of_a_devices(offload: str, width: float) -> None:
    network = small()
    asked = question(network)._replace(kernels=Kernels(offload=offload))
    plain = question(network)
    per_device = count(network).total / ACCELERATOR.memory_bytes
    for devices in (0.5, 0.8, 1.0, 1.25, 2.0):
        less = admission_of_states(asked, width * per_device * devices)
        more = admission_of_states(plain, 18.0 * per_device * devices)
        assert less == more
