"""Steps of preference and reinforcement objectives against arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from service.calibration.measured import accelerator, network
from service.calibration.rollouts import steps
from service.core import serving
from service.core.architecture.families import shapes
from service.core.estimate import Prepared, prepare, timed
from service.core.finetuning import OBJECTIVES
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import (
    WAITING,
    Rollout,
    StepItems,
    beside,
    engine_seconds,
    rollout_seconds,
)
from service.core.uncertainty import Interval

NETWORK = shapes.gpt(24, 2048, 16, vocabulary=51200, positions=1024)
CARD = accelerator("a100-sxm4-80gb")
LAYOUT = Layout(devices=8.0, micro_batch_size=2.0, global_batch_size=64.0)
LENGTH = 1024.0
GENERATED = Interval(10.0, 6.0, 30.0)


def job(objective: str, recomputation: str = "none") -> Prepared:
    plain = prepare(NETWORK, Kernels(recomputation=recomputation), CARD, 1, LENGTH)
    rollout = GENERATED if OBJECTIVES[objective].rollout else Interval(0.0, 0.0, 0.0)
    added = beside(NETWORK, OBJECTIVES[objective], LENGTH, float(plain.recomputed_flops), rollout)
    return replace(plain, beside=added)


def items(objective: str, recomputation: str = "none") -> StepItems:
    return timed(job(objective, recomputation), LAYOUT)[1]


def test_supervised_training_has_one_item() -> None:
    plain = prepare(NETWORK, Kernels(), CARD, 1, LENGTH)
    step, found = timed(plain, LAYOUT)
    assert found == StepItems(found.total, found.total)
    assert items("sft").total.value == pytest.approx(step.total_seconds)


def test_a_pair_is_two_sequences_and_the_reference_sees_both() -> None:
    """A sample of two in micro-batches of 2 is a micro-batch of 4; forward is a third of it."""
    pairs = replace(LAYOUT, micro_batch_size=4.0, global_batch_size=128.0)
    plain = prepare(NETWORK, Kernels(), CARD, 1, LENGTH)
    step = timed(plain, pairs)[0]
    found = items("dpo")
    assert found.training.value == pytest.approx(step.total_seconds)
    assert found.forward is not None
    passes = step.total_seconds - step.optimizer_seconds - step.data_seconds
    assert found.forward.value == pytest.approx(passes / 3.0)
    assert found.total.value == pytest.approx(found.training.value + passes / 3.0)
    for objective in ("dpo-precomputed", "orpo", "simpo"):
        assert items(objective).total.value == pytest.approx(step.total_seconds)


def test_recomputation_lowers_the_share_of_a_forward_pass_to_a_quarter() -> None:
    step = timed(job("kto", "full"), LAYOUT)[0]
    passes = step.total_seconds - step.optimizer_seconds - step.data_seconds
    found = items("kto", "full")
    assert found.forward is not None
    assert found.forward.value == pytest.approx(3.0 * passes / 4.0, rel=0.03)


def test_reinforcement_adds_generation_forward_passes_and_a_critic() -> None:
    once = items("sft").total.value
    ppo, grpo, bare = (items(name) for name in ("ppo", "grpo", "grpo-no-reference"))
    assert ppo.training.value == pytest.approx(2.0 * once)
    assert grpo.training.value == pytest.approx(once)
    assert ppo.rollout == grpo.rollout == GENERATED
    forwards = [found.forward.value for found in (ppo, grpo, bare) if found.forward]
    assert forwards == pytest.approx([4.0 * forwards[2], 2.0 * forwards[2], forwards[2]])
    assert grpo.total.value == pytest.approx(once + forwards[1] + 10.0)


def test_the_interval_of_a_step_joins_those_of_training_and_generation() -> None:
    found = items("grpo")
    assert found.forward is not None
    passes = [a + b for a, b in zip(found.training, found.forward, strict=True)]
    up = ((passes[2] - passes[0]) ** 2 + 20.0**2) ** 0.5
    down = ((passes[0] - passes[1]) ** 2 + 4.0**2) ** 0.5
    assert found.total.high == pytest.approx(found.total.value + up)
    assert found.total.low == pytest.approx(found.total.value - down)


def test_items_of_arrays_are_those_of_floats() -> None:
    layouts = replace(LAYOUT, global_batch_size=np.array([64.0, 128.0]))
    found = timed(job("dpo"), layouts)[1].total
    single = timed(job("dpo"), LAYOUT)[1].total
    assert [bound[0] for bound in found] == pytest.approx(list(single))


def test_the_engine_decodes_each_token_of_each_wave() -> None:
    """8 samples on each device, all at once, unless fewer and wider replicas take less."""
    rollout = Rollout(256.0, 768.0)
    small = shapes.gpt(12, 768, 12, vocabulary=51200, positions=1024)
    alone = serving.ServingJob(concurrency=8.0, prompt_tokens=256.0, output_tokens=768.0)
    step = serving.estimate(small, CARD, alone).decode_seconds_per_token.value
    assert engine_seconds(small, CARD, rollout, 64.0, 8.0) <= 768.0 * step
    assert engine_seconds(small, CARD, rollout, 8.0, 1.0) == pytest.approx(768.0 * step)
    many = engine_seconds(small, CARD, rollout, 1e6, 8.0)
    assert many == pytest.approx(10.0 * engine_seconds(small, CARD, rollout, 1e5, 8.0), rel=0.05)


def test_a_network_that_one_device_cannot_hold_is_divided() -> None:
    large = network("llama-3.1-70b")
    found = rollout_seconds(large, CARD, Rollout(256.0, 256.0), 64.0, 8.0)
    assert 0.0 < found.low < found.value < found.high < 1e4


def test_published_steps_wait_as_long_as_is_said() -> None:
    """Median and range of the rows; a new fit of training or serving moves them a little."""
    seen = sorted(step.waiting for step in steps())
    assert WAITING.value == pytest.approx(median(seen), rel=0.2)
    assert WAITING.low == pytest.approx(seen[0], rel=0.2)
    assert WAITING.high == pytest.approx(seen[-1], rel=0.2)
