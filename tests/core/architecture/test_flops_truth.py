"""Forward and backward FLOPs against a framework's counter, in the counter's convention."""

import json
from pathlib import Path

import pytest

from service.core import compute
from service.core.architecture.families import registry

TRUTH = Path(__file__).parents[2] / "data" / "truth"
CASES = json.loads((TRUTH / "flops.json").read_text())["cases"]
TOLERANCE = 0.01


def config(settings):
    found = json.loads((TRUTH / "configs" / f"{settings['cfg']}.json").read_text())
    return found | settings.get("over", {})


def attention_unmasked(table, length):
    """Forward FLOPs of attention if each query met each key, as counters have it."""
    pairs = table.attention
    per_pair = sum(amount for _, amount in (*pairs.windowed, *pairs.around))
    return pairs.causal.at(length) + pairs.full.at(length) + per_pair * length**2


def covered():
    known = registry.builders()
    return sorted(
        name for name, case in CASES.items() if config(case["settings"])["model_type"] in known
    )


@pytest.mark.parametrize("name", covered())
def test_forward_flops_agree_with_the_counter(name):
    case = CASES[name]
    settings = case["settings"]
    table = compute.table(registry.build(config(settings)))
    length = settings["S"]
    counted = settings["B"] * (table.products(length) + attention_unmasked(table, length))
    assert counted == pytest.approx(case["forward_flops"], rel=TOLERANCE)


@pytest.mark.parametrize("name", covered())
def test_backward_flops_of_transformers_agree_with_the_counter(name):
    case = CASES[name]
    settings = case["settings"]
    if settings["attn"] is None:
        pytest.skip("the counter sees unfused element-wise products in this backward pass")
    table = compute.table(registry.build(config(settings)))
    flash = settings["attn"] == "sdpa"
    length, passes = settings["S"], compute.FLASH_BACKWARD if flash else 2.0
    attention = passes * attention_unmasked(table, length)
    counted = settings["B"] * (2.0 * table.products(length) + attention)
    assert counted == pytest.approx(case["backward_flops"], rel=TOLERANCE)


def test_causal_attention_is_counted_at_half_and_everything_else_alike():
    case = CASES["llama3_1_8b-b1-s8192"]
    table = compute.table(registry.build(config(case["settings"])))
    assert table.forward(8192) == pytest.approx(case["forward_flops_if_causal_halved"], rel=1e-3)


def test_a_window_saves_attention_outside_it():
    sliding = config({"cfg": "mistral_7b_v03"}) | {"sliding_window": 1024}
    full = compute.table(registry.build(sliding | {"sliding_window": None}))
    windowed = compute.table(registry.build(sliding))
    per_pair = 32 * 2.0 * 32 * (128 + 128)
    s, w = 8192, 1024
    assert windowed.products(s) == full.products(s)
    assert windowed.attention.at(s) == per_pair * (s * w - w * w / 2)
    assert full.attention.at(s) == per_pair * s * s / 2


def test_a_token_pays_for_the_experts_that_it_meets():
    mixtral = config({"cfg": "Mixtral-8x7B-v0.1"})
    two = compute.table(registry.build(mixtral))
    one = compute.table(registry.build(mixtral | {"num_experts_per_tok": 1}))
    assert two.expert.at(1) == 2 * one.expert.at(1)
    assert two.dense == one.dense
