"""Every change that is offered does what it says: 240 requests that do not fit, each patch tried.

The requests are drawn from the catalog's models, with and without a layout, for pre-training,
fine-tuning and serving; each patch is applied as a client would, and estimated anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from service.api import verdicts
from service.api.estimating import Context, estimate
from service.api.levers import merged
from service.api.problems import ProblemError
from service.api.requests import EstimateRequest
from service.api.responses import Change, EstimateResponse
from service.catalog.snapshot import Snapshot
from service.core import layout_choice, search

SMALL = ("rtx-4090", "l4", "t4", "v100-sxm2-32gb", "a100-sxm4-40gb", "a100-sxm4-80gb", "h100-sxm")
PARTS = 24
A_PART = 10
"""Requests in each part that do not fit."""


def drawn(seed: int, models: list[str], accelerators: list[str]) -> Iterator[dict[str, Any]]:
    """Requests without end, most of them too large for their devices."""
    pick = random.Random(seed)
    while True:
        kind = pick.choice(("pretraining", "finetuning", "inference"))
        body: dict[str, Any] = {
            "model": {"kind": "catalog", "name": pick.choice(models)},
            "workload": {"kind": kind} | WORKLOADS[kind](pick),
            "hardware": {
                "accelerator": pick.choice(accelerators),
                "count": pick.choice((1, 1, 2, 4, 8)),
            },
            "pricing": {"usd_per_device_hour": 2.0},
        }
        if pick.random() < 0.5:
            body["layout"] = layout(pick, kind, body["hardware"]["count"])
        yield body


def training(pick: random.Random) -> dict[str, Any]:
    micro = pick.choice((1, 2, 4, 8))
    return {
        "tokens": 1e9,
        "sequence_length": pick.choice((512, 2048, 8192)),
        "global_batch_size": 256,
        "micro_batch_size": micro,
        "optimizer": pick.choice(("adamw", "adamw", "sgd", "lion")),
        "recomputation": pick.choice(("none", "selective", "half", "full")),
        "precision": pick.choice(("bf16-mixed", "bf16", "fp32")),
    }


def tuning(pick: random.Random) -> dict[str, Any]:
    return training(pick) | {
        "method": pick.choice(("full", "lora", "qlora")),
        "objective": pick.choice(("sft", "sft", "dpo", "ppo", "grpo")),
    }


def serving(pick: random.Random) -> dict[str, Any]:
    return {
        "prompt_tokens": pick.choice((1024, 8192, 32768)),
        "output_tokens": 256,
        "concurrency": pick.choice((1, 16, 128)),
        "weights": pick.choice(("bf16", "fp8", "awq-int4-g128", "gguf:Q8_0")),
        "kv_cache": pick.choice(("bf16", "fp8")),
    }


WORKLOADS = {"pretraining": training, "finetuning": tuning, "inference": serving}


def layout(pick: random.Random, kind: str, count: int) -> dict[str, int]:
    tensor = pick.choice([way for way in (1, 2, 4, 8) if way <= count])
    if kind == "inference":
        return {"tensor": tensor, "pipeline": count // tensor}
    return {"tensor": tensor, "zero_stage": pick.choice((0, 1, 2, 3))}


def answered(body: dict[str, Any], seeded: Snapshot) -> EstimateResponse:
    return estimate(EstimateRequest.model_validate(body), Context(seeded))


def refused(seed: int, seeded: Snapshot) -> Iterator[tuple[dict[str, Any], EstimateResponse]]:
    """The requests of one part that are answered and do not fit, with their answers."""
    models = [fact.name for fact in seeded.facts("models")]
    known = {fact.name for fact in seeded.facts("accelerators")}
    found = 0
    for body in drawn(seed, models, [name for name in SMALL if name in known]):
        try:
            answer = answered(body, seeded)
        except ProblemError:
            continue
        if answer.verdict and answer.verdict.admission == "does_not_fit":
            yield body, answer
            found += 1
        if found == A_PART:
            return


def assert_costs(before: EstimateResponse, after: EstimateResponse, change: Change) -> None:
    """Time, device-hours and money of the change are those of the two answers."""
    if before.time and after.time and before.cost and after.cost:
        pairs = [
            (change.time_factor, before.time.wall_clock_seconds, after.time.wall_clock_seconds),
            (change.device_hours_factor, before.time.device_hours, after.time.device_hours),
        ]
        assert before.cost.usd
        assert after.cost.usd
        assert change.extra_usd is not None
        extra = after.cost.usd.value - before.cost.usd.value
        assert change.extra_usd == pytest.approx(extra, abs=1e-6)
    else:
        assert before.serving
        assert after.serving
        pairs = [
            (
                change.time_factor,
                before.serving.decode_seconds_per_token,
                after.serving.decode_seconds_per_token,
            ),
            (
                change.device_hours_factor,
                before.serving.usd_per_million_output_tokens,
                after.serving.usd_per_million_output_tokens,
            ),
        ]
    for factor, was, now in pairs:
        assert was
        assert now
        assert factor == pytest.approx(now.value / was.value)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, PARTS))]
)
def test_a_change_does_what_it_says(seed: int, seeded: Snapshot) -> None:
    helped = 0
    for body, before in refused(seed, seeded):
        assert before.verdict
        assert before.memory
        helped += bool(before.verdict.smallest_changes)
        for change in before.verdict.smallest_changes:
            after = answered(merged(body, change.patch), seeded)
            assert after.verdict
            assert after.memory
            assert after.verdict.admission == change.admission != "does_not_fit"
            assert after.memory.peak_bytes == change.peak_bytes
            peaks = " -> ".join(
                f"{each.memory.peak_bytes.value / 2**30:.1f}" for each in (before, after)
            )
            assert f"peak memory {peaks} GiB" in change.effect
            assert_costs(before, after, change)
    assert helped >= 0.5 * A_PART


WIDE = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {"kind": "finetuning", "micro_batch_size": 8},
    "hardware": {"accelerator": "a100-sxm4-40gb", "count": 2},
}


def test_changes_are_tried_while_the_budget_of_searches_lasts(
    seeded: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(work: int) -> tuple[int, bool]:
        monkeypatch.setattr(verdicts, "MOST_WORK", work)
        found = answered(WIDE, seeded)
        assert found.verdict
        told = "changes-not-tried" in [warning.code for warning in found.warnings]
        return len(found.verdict.smallest_changes), told

    every, told = tried(verdicts.MOST_WORK)
    assert every > 1
    assert not told
    assert tried(0) == (0, True)
    some, told = tried(20_000)
    assert 0 < some < every
    assert told


def test_what_was_searched_before_does_not_change_the_changes(
    seeded: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "MOST_WORK", 20_000)
    remembered = answered(WIDE, seeded)
    for cache in (*search.caches(), *layout_choice.caches()):
        cache.cache_clear()
    assert answered(WIDE, seeded) == remembered


def test_a_layout_is_sought_with_room_for_the_models_of_the_objective(seeded: Snapshot) -> None:
    tuned = {"kind": "finetuning", "objective": "dpo", "micro_batch_size": 16}
    found = answered(WIDE | {"workload": tuned, "hardware": {"accelerator": "h100-sxm"}}, seeded)
    assert found.verdict
    assert found.layout
    assert found.verdict.admission == "fits"
    assert found.layout.devices <= 8
