"""An estimate's quantities follow from its step: identities that hold for any job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.calibration.measured import accelerator
from service.core import throughput
from service.core.architecture.families import shapes
from service.core.estimate import (
    AT_RISK,
    DOES_NOT_FIT,
    FITS,
    Estimate,
    Prepared,
    admission,
    evaluate,
    limited_by,
    prepare,
    worst_memory,
)
from service.core.finetuning import OBJECTIVES
from service.core.memory import MemoryParts
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import beside
from service.core.spending import Site
from service.core.uncertainty import Interval

NETWORK = shapes.gpt(24, 2048, 16, vocabulary=51200, positions=1024)
CARD = accelerator("a100-sxm4-80gb")
LAYOUT = Layout(devices=16.0, zero_stage=1.0, micro_batch_size=2.0, global_batch_size=64.0)
LENGTH, TOKENS = 1024.0, 1e9
SITE = Site(300.0, 1.2)


def job(objective: str = "sft", recomputation: str = "none", **changes: object) -> Prepared:
    plain = prepare(NETWORK, Kernels(recomputation=recomputation), CARD, 1, LENGTH)
    if objective != "sft":
        repeated = float(plain.recomputed_flops)
        changes["beside"] = beside(NETWORK, OBJECTIVES[objective], LENGTH, repeated)
    return replace(plain, **changes)


def estimate(of: Prepared, layout: Layout = LAYOUT) -> Estimate:
    return evaluate(of, layout, TOKENS, SITE, 2.5)


@pytest.mark.parametrize("objective", ["sft", "dpo", "ppo"])
def test_a_run_is_as_many_steps_as_its_tokens_fill(objective: str) -> None:
    found = estimate(job(objective))
    sequences = OBJECTIVES[objective].trained_sequences
    step_tokens = 64.0 * sequences * LENGTH
    rate = found.tokens_per_second_per_device.value * 16.0
    assert rate * found.step_seconds.value == pytest.approx(step_tokens)
    billed = throughput.billed_factor(LAYOUT, job().device).value
    steps = TOKENS / step_tokens
    seconds = found.step_seconds.value * steps * billed
    assert found.wall_clock_seconds.value == pytest.approx(seconds)
    assert found.device_hours.value == pytest.approx(seconds * 16.0 / 3600.0)
    assert found.spent.usd.value == pytest.approx(2.5 * found.device_hours.value)


def test_utilization_is_model_flops_over_the_peak_of_all_devices() -> None:
    found, of = estimate(job()), job()
    flops = 64.0 * of.sample_flops
    reached = flops / found.step_seconds.value / 16.0 / of.device.peak_flops
    assert found.model_flops_utilization.value == pytest.approx(reached)
    assert 0.1 < reached < 0.7


def test_recomputation_is_no_model_flops_and_draws_power() -> None:
    """Full recomputation repeats the forward pass: a third of what is counted."""
    of = job(recomputation="full")
    assert of.sample_flops == job().sample_flops
    assert of.recomputed_flops == pytest.approx(of.sample_flops / 3.0)
    found = estimate(of)
    drawn = found.draw.utilization.value
    assert drawn == pytest.approx(found.model_flops_utilization.value * 4.0 / 3.0)


def test_forward_passes_of_an_objective_draw_power_too() -> None:
    """DPO: two sequences are trained and two run forward, each a third of training one."""
    found = estimate(job("dpo"))
    passed = found.draw.utilization.value / found.model_flops_utilization.value - 1.0
    assert passed == pytest.approx(1.0 / 3.0)
    again = estimate(job("dpo", "full"))
    passed = again.draw.utilization.value / again.model_flops_utilization.value
    assert passed == pytest.approx(4.0 / 3.0 * (1.0 + 0.25))


def test_a_clusters_factors_multiply_the_peak_and_every_item_of_a_step() -> None:
    plain, slow = estimate(job("dpo")), estimate(job("dpo", memory_factor=1.2, time_factor=1.5))
    assert slow.peak_bytes.value == pytest.approx(1.2 * plain.peak_bytes.value)
    one, other = plain.step_items, slow.step_items
    assert other.training.value == pytest.approx(1.5 * one.training.value)
    assert one.forward is not None
    assert other.forward is not None
    assert other.forward.value == pytest.approx(1.5 * one.forward.value)


def test_the_margin_is_what_the_expected_peak_leaves() -> None:
    found = estimate(job())
    assert found.peak_bytes.value == pytest.approx(found.memory.peak)
    assert found.margin_bytes == CARD.memory_bytes - found.peak_bytes.value


def test_the_stage_that_needs_most_answers() -> None:
    of = prepare(NETWORK, Kernels(), CARD, 4, LENGTH)
    layout = replace(LAYOUT, pipeline=4.0)
    parts, stage = worst_memory(of, layout)
    assert int(stage) == 0
    assert len(of.memory_stages) > 1
    alone = [worst_memory(replace(of, memory_stages=[one]), layout)[0] for one in of.memory_stages]
    assert parts.peak == max(each.peak for each in alone) > min(each.peak for each in alone)


@pytest.mark.parametrize(
    ("peak", "code"),
    [
        (Interval(8.0, 7.0, 10.0), FITS),
        (Interval(8.0, 7.0, 10.1), AT_RISK),
        (Interval(11.0, 10.0, 12.0), AT_RISK),
        (Interval(11.0, 10.1, 12.0), DOES_NOT_FIT),
    ],
)
def test_a_job_fits_where_its_whole_interval_does(peak: Interval, code: int) -> None:
    assert admission(peak, 10.0) == code


def test_the_largest_part_limits_and_temporaries_are_activations() -> None:
    assert limited_by(MemoryParts(4.0, 1.0, 3.0, 2.0, 1.5, 1.0)) == "parameters"
    assert limited_by(MemoryParts(4.0, 1.0, 3.0, 2.0, 2.5, 1.0)) == "activations"
    assert limited_by(MemoryParts(1.0, 1.0, 3.0, 1.0, 1.0, 4.0)) == "overhead"
