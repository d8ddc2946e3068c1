"""How much work an answer takes, in counts: noise cannot fail them, a slower way of working does.

`make bench` measures seconds. The limits are some fifths above what is counted today.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from service.api import sweeping
from service.api.answers import Answers
from service.api.estimating import Context, estimate
from service.api.requests import EstimateRequest
from service.api.sweep_models import SweepRequest
from service.calibration import reference
from service.catalog.snapshot import Snapshot
from service.core import estimate as core
from service.core import sweep
from service.core.architecture import safetensors
from service.core.architecture.families import registry
from service.core.parallelism import Kernels
from tests.bench.bench_core import COLUMNS, LAYOUT, LLAMA, SITE
from tests.documents import REQUEST

WIDTHS = count(100)


def calls(action: Callable[[], Any]) -> int:
    """Calls of functions, Python's and C's, that an action makes when it is done again."""
    made = 0

    def counted(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    action()
    sys.setprofile(counted)
    try:
        action()
    finally:
        sys.setprofile(None)
    return made


def job() -> core.Prepared:
    return core.prepare(
        registry.build(LLAMA), Kernels(), reference.accelerator("h100-sxm"), 1, 8192.0
    )


def test_one_estimate_of_the_core() -> None:
    prepared = job()
    assert calls(lambda: core.evaluate(prepared, LAYOUT, 1e12, SITE, 2.5)) < 420


def test_a_network_is_folded_once() -> None:
    network, accelerator = registry.build(LLAMA), reference.accelerator("h100-sxm")
    assert calls(lambda: core.prepare(network, Kernels(), accelerator, 1, 8192.0)) < 100


@pytest.mark.parametrize(
    ("body", "limit"),
    [(REQUEST, 1_500), (REQUEST | {"layout": {"tensor": 4}}, 1_300)],
    ids=["search", "layout"],
)
def test_a_new_request_about_known_things(
    seeded: Snapshot, body: dict[str, Any], limit: int
) -> None:
    context, tokens = Context(seeded), iter((1e12, 2e12))

    def one() -> None:
        workload = body["workload"] | {"tokens": next(tokens)}
        estimate(EstimateRequest.model_validate(body | {"workload": workload}), context)

    assert calls(one) < limit


MIXTURE = {
    "model_type": "mixtral",
    "hidden_size": 8192,
    "intermediate_size": 28_672,
    "num_hidden_layers": 120,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
}
HUGE = {
    "model": {"kind": "huggingface", "config": MIXTURE},
    "hardware": {"accelerator": "a100-sxm4-80gb", "count": 512},
}
"""Two trillion parameters and more: no layout of so many devices holds them."""


def test_what_does_not_fit_is_searched_for_changes_in_bounded_work(seeded: Snapshot) -> None:
    lengths = iter((16_384, 24_576, 32_768))

    def one() -> None:
        workload = {"kind": "pretraining", "sequence_length": next(lengths)}
        request = EstimateRequest.model_validate(HUGE | {"workload": workload})
        found = estimate(request, Context(seeded))
        assert found.verdict
        assert found.verdict.admission == "does_not_fit"

    assert calls(one) < 200_000
    tracemalloc.start()
    try:
        one()
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_remembered_answer_is_little_to_look_through_for_garbage(seeded: Snapshot) -> None:
    answers, context = Answers(), Context(seeded)

    def tracked(first: int, last: int) -> int:
        for tokens in range(first, last):
            workload = REQUEST["workload"] | {"tokens": float(tokens)}
            request = EstimateRequest.model_validate(REQUEST | {"workload": workload})
            answers.answer(request, "", lambda request=request: estimate(request, context))
        gc.collect()
        return len(gc.get_objects())

    before = tracked(1_000, 1_010)
    assert tracked(1_010, 1_060) - before < 15 * 50


def test_numbers_that_count_no_layers_are_read_in_one_pass() -> None:
    def read(count: int) -> int:
        header = {f"h.{n}.w": {"dtype": "F32", "shape": [n + 1]} for n in range(count)}
        return calls(lambda: safetensors.build(header))

    assert read(4_000) < 2.2 * read(2_000)
    tracemalloc.start()
    try:
        read(4_000)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_equal_layers_cost_next_to_nothing() -> None:
    few, many = (
        calls(lambda config=LLAMA | {"num_hidden_layers": layers}: registry.build(config))
        for layers in (8, 512)
    )
    assert many - few < 2 * (512 - 8)


def test_of_a_long_axis_of_numbers_few_are_validated(seeded: Snapshot) -> None:
    def swept(count: int) -> int:
        values = [1e9 * (1 + n * 7_919 % count) for n in range(count)]  # in no order
        body = {"base": REQUEST | {"layout": {"tensor": 4}}, "axes": {"/workload/tokens": values}}
        request = SweepRequest.model_validate(body)
        return calls(lambda: sweeping.answer(request, seeded))

    assert swept(4_000) - swept(1_000) < 10 * 3_000


def test_a_sweep_evaluates_blocks_and_holds_few_of_them() -> None:
    rows, block = 200_000, 20_000
    batches = [float(64 * (i + 1)) for i in range(rows)]
    point = sweep.Point(job(), LAYOUT, 1e12, SITE, 2.5)
    numbers = (sweep.Numbers(0, "layout.global_batch_size", batches),)
    grid = sweep.Grid((rows,), (), [point], numbers)
    assert calls(lambda: sweep.sweep(grid, COLUMNS, block)) < 6_500 * (rows // block)
    tracemalloc.start()
    try:
        found = sweep.sweep(grid, COLUMNS, block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    result = sum(column.nbytes for column in found.columns.values())
    assert peak - result < 200 * 8 * block


def test_a_thousand_layers_of_two_kinds_cost_no_more_than_their_list() -> None:
    few, many = (
        calls(lambda config={"model_type": "gemma2", "num_hidden_layers": n}: folded(config))
        for n in (26, 1000)
    )
    assert many - few < 720 * (1000 - 26)


def folded(config: dict[str, Any]) -> None:
    """A network built and folded as if it had not been seen before."""
    config = config | {"intermediate_size": 64 * next(WIDTHS)}
    core.prepare(registry.build(config), Kernels(), reference.accelerator("h100-sxm"), 1, 8192.0)
