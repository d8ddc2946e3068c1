"""A row of a sweep is the single estimate, whatever the axes and the blocks."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.architecture.families import shapes
from service.core.estimate import Estimate, evaluate, prepare
from service.core.hardware import Accelerator
from service.core.numeric import Number
from service.core.parallelism import Kernels, Layout
from service.core.spending import Site
from service.core.sweep import Getter, Grid, Numbers, Point, Swept, blocks, sweep

COLUMNS: dict[str, Getter] = {
    "peak": lambda e: e.peak_bytes.high,
    "admission": lambda e: e.admission,
    "step": lambda e: e.step_seconds.value,
    "hours": lambda e: e.device_hours.low,
    "usd": lambda e: e.spent.usd.high,
    "kgco2e": lambda e: e.spent.total_kgco2e.value,
    "utilization": lambda e: e.model_flops_utilization.value,
}
NETWORKS = (
    shapes.llama(8, 1024, 8, vocabulary=32000),
    shapes.gpt(12, 768, 12, positions=1024),
)


def accelerator(name: str, scale: float) -> Accelerator:
    return Accelerator(
        name,
        "NVIDIA",
        2022,
        80.0 * 2**30,
        scale * 2e12,
        {"bf16": scale * 312e12, "fp16": scale * 312e12, "fp32": scale * 19.5e12},
        300e9,
        25e9,
        8,
        scale * 400.0,
        50.0,
        (20.0, 160.0, 570.0),
    )


ACCELERATORS = (accelerator("a100-sxm4-80gb", 1.0), accelerator("new", 3.0))
LAYOUT = Layout(
    devices=16.0,
    tensor=2.0,
    pipeline=2.0,
    zero_stage=1.0,
    sequence_parallel=1.0,
    micro_batch_size=2.0,
    global_batch_size=64.0,
)


def point(network: int, device: int, precision: str = "bf16-mixed", pipeline: int = 2) -> Point:
    kernels = Kernels(precision, recomputation="selective")
    prepared = prepare(NETWORKS[network], kernels, ACCELERATORS[device], pipeline, 1024.0)
    layout = replace(LAYOUT, pipeline=float(pipeline))
    return Point(prepared, layout, 1e9, Site(400.0, 1.2), 2.0)


def single(start: Point, settings: dict[str, float]) -> Estimate:
    """The estimate of one combination, on plain numbers."""
    values: dict[str, object] = start._asdict()
    job = values.pop("prepared")
    for target, value in settings.items():
        part, _, name = target.partition(".")
        if part == "layout":
            values["layout"] = replace(values["layout"], **{name: value})  # type: ignore[type-var]
        elif part == "site":
            values["site"] = values["site"]._replace(**{name: value})  # type: ignore[attr-defined]
        else:
            values[part] = value
    return evaluate(job, **values)  # type: ignore[arg-type]


def assert_rows_are_single_estimates(grid: Grid, answer: Swept) -> None:
    numbers = {axis.axis: axis for axis in grid.numbers}
    point_shape = tuple(grid.shape[axis] for axis in grid.point_axes)
    for row, index in enumerate(product(*(range(size) for size in grid.shape))):
        place = np.ravel_multi_index([index[axis] for axis in grid.point_axes], point_shape)
        start = grid.points[int(place)]
        assert start is not None
        settings = {axis.target: axis.values[index[i]] for i, axis in numbers.items()}
        expected = single(start, settings)
        for name, getter in COLUMNS.items():
            value: Number = getter(expected)
            assert answer.columns[name][row] == pytest.approx(value, rel=1e-12), (name, settings)


@settings(max_examples=25, deadline=None)
@given(
    devices=st.lists(st.sampled_from([4.0, 8.0, 16.0, 32.0]), min_size=1, max_size=3, unique=True),
    prices=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=3),
    grids=st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=3),
    stages=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=1, max_size=4, unique=True),
    block_rows=st.sampled_from([1, 5, 64, 32768]),
)
def test_every_row_is_the_single_estimate(
    devices: list[float],
    prices: list[float],
    grids: list[float],
    stages: list[float],
    block_rows: int,
) -> None:
    grid = Grid(
        (len(devices), 2, len(prices), 2, len(grids), len(stages)),
        (1, 3),
        [point(n, d) for n, d in product(range(2), range(2))],
        [
            Numbers(0, "layout.devices", devices),
            Numbers(2, "usd_per_device_hour", prices),
            Numbers(4, "site.grid", grids),
            Numbers(5, "layout.zero_stage", stages),
        ],
    )
    answer = sweep(grid, COLUMNS, block_rows)
    assert answer.refused == 0
    assert_rows_are_single_estimates(grid, answer)


def test_points_with_other_pipelines_and_formats_keep_their_own_tables() -> None:
    points = [
        point(0, 0, precision, pipeline)
        for precision, pipeline in product(("bf16-mixed", "fp16", "bf16-autocast"), (1, 2, 4))
    ]
    grid = Grid((3, 3, 2), (0, 1), points, [Numbers(2, "tokens", [1e9, 3e10])])
    assert_rows_are_single_estimates(grid, sweep(grid, COLUMNS))


def test_combinations_that_make_no_sense_are_counted_and_empty() -> None:
    grid = Grid(
        (2, 3),
        (0,),
        [point(0, 0), None],
        [Numbers(1, "layout.tensor", [1.0, 3.0, 2.0])],
    )
    answer = sweep(grid, COLUMNS)
    assert answer.refused == 4
    known = ~np.isnan(answer.columns["usd"])
    assert known.tolist() == [True, False, True, False, False, False]


def test_a_sweep_in_which_nothing_makes_sense_is_empty() -> None:
    grid = Grid((2, 2), (0,), [None, None], [Numbers(1, "tokens", [1.0, 2.0])])
    answer = sweep(grid, COLUMNS)
    assert answer.refused == 4
    assert np.isnan(answer.columns["step"]).all()


@given(
    shape=st.lists(st.integers(1, 6), min_size=0, max_size=4).map(tuple),
    rows=st.integers(1, 300),
)
def test_blocks_cover_each_row_once(shape: tuple[int, ...], rows: int) -> None:
    seen = np.zeros(shape, dtype=int)
    for index in blocks(shape, rows):
        seen[index] += 1
        size = int(np.prod([part.stop - part.start for part in index]))
        assert size <= rows or size == 1
    assert (seen == 1).all()


def test_temporaries_stay_small_beside_the_result() -> None:
    grid = Grid(
        (2, 100, 50, 40),
        (0,),
        [point(0, 0), point(1, 1)],
        [
            Numbers(1, "layout.global_batch_size", [64.0 * i for i in range(1, 101)]),
            Numbers(2, "tokens", [1e9 * i for i in range(1, 51)]),
            Numbers(3, "site.grid", [10.0 * i for i in range(1, 41)]),
        ],
    )
    assert grid.rows == 400_000
    sweep(grid, COLUMNS)
    tracemalloc.start()
    answer = sweep(grid, COLUMNS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = sum(column.nbytes for column in answer.columns.values())
    assert peak - result < 64 * 2**20
