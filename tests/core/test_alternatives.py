from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args

import pytest

from service.calibration import reference
from service.core import serving
from service.core.alternatives import Comparison, break_even_share, cheapest_over, compare
from service.core.alternatives_pareto import criteria, ruled_out_by
from service.core.candidates import Candidate, Need, Option
from service.core.diminishing import ladder, scaled
from service.core.kv_cache import CacheGroup
from service.core.quality_evidence import Task, evidence, findings, technique
from service.core.serving.economics import usd_per_million_output_tokens, watts_per_device
from service.core.serving.fleet import Target, Traffic

H100 = reference.accelerator("h100-sxm")


def candidate(name: str, model: str, weights: str = "bf16", family: str = "llama") -> Candidate:
    return Candidate(name, family, reference.network(model), H100, weights)


CURRENT = candidate("70b", "llama-3.1-70b")
SMALLER = replace(candidate("8b", "llama-3.1-8b"), techniques=("smaller",))
OTHERS = (
    candidate("70b-fp8", "llama-3.1-70b", "fp8"),
    candidate("70b-awq", "llama-3.1-70b", "awq-int4-g128"),
    SMALLER,
    replace(SMALLER, name="8b-lora", techniques=("smaller", "adapter"), making_usd=300.0),
    replace(SMALLER, name="cascade", escalates_to=CURRENT, escalated_share=0.3),
    replace(candidate("27b", "gemma-2-27b", family="gemma"), techniques=("smaller",)),
)
NEED = Need(Traffic(10.0), Target(seconds_per_token=0.1), 1_000.0, 300.0, "knowledge", 2.5, 400.0)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(CURRENT, OTHERS, NEED)


def option(compared: Comparison, name: str) -> Option:
    return next(o for o in compared.options if o.candidate.name == name)


def test_the_model_in_use_comes_first_and_each_candidate_is_answered(compared: Comparison) -> None:
    assert [o.candidate.name for o in compared.options] == ["70b", *(c.name for c in OTHERS)]
    assert all(o.fit in ("fits", "at_risk", "does_not_fit") for o in compared.options)


def test_whole_devices_are_paid_by_the_month(compared: Comparison) -> None:
    for found in compared.options:
        assert found.usd_per_month is not None
        assert found.usd_per_month.value == pytest.approx(found.devices * 2.5 * 730.5)
        assert found.usd_per_million_output_tokens is not None
        tokens = 10.0 * 300.0 * 730.5 * 3_600.0
        assert found.usd_per_million_output_tokens.value * tokens / 1e6 == pytest.approx(
            found.usd_per_month.value
        )


def test_carbon_is_that_of_what_all_devices_draw_in_a_month(compared: Comparison) -> None:
    """At 400 gCO2e a kWh and a PUE of 1.2, idle time of the fleet included."""
    for found in compared.options:
        if found.candidate.escalates_to or not found.fleets or found.kgco2e_per_month is None:
            continue
        fleet = found.fleets[0]
        watts = watts_per_device(fleet.at_mean, H100, found.candidate.weights, fleet.utilization)
        kwh = watts.value * found.devices * 730.5 / 1e3
        assert found.kgco2e_per_month.value == pytest.approx(kwh * 1.2 * 0.4)


def test_a_cascade_pays_for_both_of_its_fleets(compared: Comparison) -> None:
    small, both = option(compared, "8b"), option(compared, "cascade")
    assert len(both.fleets) == 2
    assert both.fleets[0].devices == small.devices
    assert small.devices < both.devices < option(compared, "70b").devices


def test_a_cascade_breaks_even_where_both_fleets_reach_the_one(compared: Comparison) -> None:
    cascade = option(compared, "cascade").candidate
    share = break_even_share(cascade, CURRENT, NEED)
    assert share is not None
    above = replace(cascade, escalated_share=share + 0.05)
    below = replace(cascade, escalated_share=share)
    base, dearer, cheaper = compare(CURRENT, (above, below), NEED).options
    assert cheaper.devices < base.devices <= dearer.devices
    assert break_even_share(replace(cascade, escalates_to=CURRENT), SMALLER, NEED) is None


def test_making_is_paid_back_by_what_is_saved(compared: Comparison) -> None:
    tuned, plain = option(compared, "8b-lora"), option(compared, "8b")
    base = option(compared, "70b")
    assert tuned.usd_per_month is not None
    assert base.usd_per_month is not None
    saved = base.usd_per_month.value - tuned.usd_per_month.value
    assert tuned.payback_months == pytest.approx(300.0 / saved)
    assert plain.payback_months == 0.0
    assert base.payback_months is None


def test_what_saves_nothing_never_pays_back() -> None:
    dear = replace(candidate("405b", "llama-3.1-405b", "fp8"), making_usd=1.0)
    found = option(compare(CURRENT, (dear,), NEED), "405b")
    assert found.payback_months == math.inf


RATES = (1.0, 2.0, 3.0, 5.0, 8.0)
"""Requests a second at which one format is faster, or another."""


def at_rates(*others: Candidate, task: str = "knowledge") -> list[Comparison]:
    needs = (replace(NEED, traffic=Traffic(rate), task=task) for rate in RATES)
    return [compare(CURRENT, others, need) for need in needs]


def no_worse(better: Option, worse: Option) -> bool:
    return all(a <= b for a, b in zip(criteria(better), criteria(worse), strict=True))


def test_of_one_model_fewer_bits_are_ruled_out_where_more_cost_no_more() -> None:
    """AWQ is ruled out by fp8 of the same model where it is not cheaper, cleaner or faster."""
    seen = set()
    for found in at_rates(*OTHERS[:2]):
        fp8, awq = option(found, "70b-fp8"), option(found, "70b-awq")
        assert ("70b-awq" not in found.undominated) == no_worse(fp8, awq)
        assert {"70b", "70b-fp8"} <= set(found.undominated)
        seen.add(found.dominated.get("70b-awq"))
    assert seen == {None, ("70b-fp8",)}


def test_what_nobody_measured_is_ruled_out_by_what_was_and_costs_no_more() -> None:
    """fp8 was measured on knowledge; a mid-sized model of another size was not."""
    mid = replace(candidate("33b", "llama-33b"), techniques=("smaller",))
    found = at_rates(OTHERS[0], mid)
    ruled = [one.dominated.get("33b") for one in found]
    expected = [no_worse(option(one, "70b-fp8"), option(one, "33b")) for one in found]
    assert [names == ("70b-fp8",) for names in ruled] == expected
    assert any(expected)
    assert not any(one.dominated for one in at_rates(OTHERS[0], mid, task="extraction"))


def test_what_was_measured_is_not_ruled_out_by_more_bits_that_were_not() -> None:
    base, fp8, awq = compare(CURRENT, OTHERS[:2], replace(NEED, traffic=Traffic(5.0))).options
    assert ruled_out_by(awq, (base, fp8, awq)) == ("70b-fp8",)
    unknown = replace(fp8, quality=replace(fp8.quality, measured_on_task=False))
    assert ruled_out_by(awq, (base, unknown, awq)) == ()


def test_each_option_that_is_ruled_out_names_one_that_is_better_in_all_that_counts(
    compared: Comparison,
) -> None:
    for name, others in compared.dominated.items():
        for other in others:
            ours, theirs = criteria(option(compared, other)), criteria(option(compared, name))
            assert all(a <= b for a, b in zip(ours, theirs, strict=True))
            assert ours != theirs


def test_what_is_dearer_dirtier_and_slower_than_its_better_is_ruled_out() -> None:
    """Of two equal options, one in fewer bits on devices that read half as fast."""
    slow = replace(H100, memory_bandwidth=H100.memory_bandwidth / 4.0)
    worse = replace(candidate("70b-awq", "llama-3.1-70b", "awq-int4-g128"), accelerator=slow)
    found = compare(CURRENT, (candidate("70b-fp8", "llama-3.1-70b", "fp8"), worse), NEED)
    awq, fp8 = (criteria(option(found, name)) for name in ("70b-awq", "70b-fp8"))
    assert all(ours >= theirs for ours, theirs in zip(awq, fp8, strict=True))
    assert found.undominated == ("70b", "70b-fp8")


def test_another_family_is_never_ruled_out_by_money_alone(compared: Comparison) -> None:
    small, other = option(compared, "8b"), option(compared, "27b")
    assert small.usd_per_month is not None
    assert other.usd_per_month is not None
    assert small.usd_per_month.value < other.usd_per_month.value
    assert "27b" in compared.undominated


def test_a_larger_model_in_fewer_bits_is_listed_beside_a_smaller_one(compared: Comparison) -> None:
    assert ("27b", "70b-awq") in compared.beside
    sizes = {o.candidate.name: o for o in compared.options}
    for small, large in compared.beside:
        assert sizes[large].parameters > sizes[small].parameters
        assert sizes[large].stored_bytes <= 1.25 * sizes[small].stored_bytes


def test_what_would_change_the_answer_is_said_for_other_rates(compared: Comparison) -> None:
    assert [factor for factor, _ in compared.cheapest_by_rate] == [0.1, 0.3, 1.0, 3.0, 10.0]
    assert all(names for _, names in compared.cheapest_by_rate)


def test_what_costs_much_to_make_pays_only_where_devices_are_dear(compared: Comparison) -> None:
    baseline = compared.options[0]
    small = min(compared.options, key=lambda o: o.usd_per_month.value if o.usd_per_month else 1e99)
    assert baseline.usd_per_month
    assert small.usd_per_month
    saved = baseline.usd_per_month.value - small.usd_per_month.value
    assert saved > 0
    dear = replace(small, candidate=replace(small.candidate, name="dear", making_usd=6.0 * saved))
    assert cheapest_over((baseline, dear), 12.0, 1.0) == ("dear",)
    assert cheapest_over((baseline, dear), 12.0, 0.25) == (baseline.candidate.name,)
    assert cheapest_over((baseline, dear), 3.0, 1.0) == (baseline.candidate.name,)


def test_one_experiment_is_recommended_with_its_price(compared: Comparison) -> None:
    found = compared.experiment
    assert found is not None
    assert found.candidate in {"8b", "8b-lora"}
    assert found.requests == 2_000
    trials = []
    for each in (compared.options[0], option(compared, found.candidate)):
        asked = serving.ServingJob(
            each.candidate.weights,
            prompt_tokens=1_000.0,
            output_tokens=300.0,
            tensor=float(each.fleets[0].tensor),
            concurrency=16.0,
        )
        served = serving.estimate(each.candidate.network, H100, asked)
        trials.append(usd_per_million_output_tokens(served, 2.5).value * 2_000 * 300.0 / 1e6)
    assert found.usd == pytest.approx(sum(trials))
    assert "measure this" in found.why


def test_where_no_money_is_saved_the_most_carbon_is() -> None:
    few = replace(NEED, traffic=Traffic(0.1))
    found = compare(SMALLER, (replace(SMALLER, name="8b-awq", weights="awq-int4-g128"),), few)
    base, other = found.options
    assert base.usd_per_month == other.usd_per_month
    assert found.experiment is not None
    assert found.experiment.gains in ("carbon", "speed")
    assert "no option saves money at this load" in found.experiment.why


def test_what_costs_more_to_make_than_it_saves_is_not_recommended() -> None:
    saved = compare(CURRENT, (SMALLER,), NEED).options
    month = criteria(saved[0])[0] - criteria(saved[1])[0]
    for share, gains in ((0.5, "money"), (1.5, "carbon")):
        made = replace(SMALLER, making_usd=share * month * NEED.horizon_months)
        found = compare(CURRENT, (made,), NEED).experiment
        assert found is not None
        assert found.gains == gains
        long = replace(NEED, horizon_months=10 * NEED.horizon_months)
        later = compare(CURRENT, (made,), long).experiment
        assert later is not None
        assert later.gains == "money"


def test_where_nothing_is_gained_what_nobody_measured_is_tried() -> None:
    larger = replace(CURRENT, techniques=("smaller",))
    found = compare(SMALLER, (larger,), NEED).experiment
    assert found is not None
    assert (found.candidate, found.gains) == ("70b", "knowledge")
    assert found.usd > 0


def test_where_the_model_in_use_does_not_fit_the_cheapest_that_does_is_tried() -> None:
    few = replace(NEED, devices_at_hand=2)
    found = compare(CURRENT, (SMALLER,), few).experiment
    assert found is not None
    assert (found.candidate, found.gains) == ("8b", "service")
    assert "needs 12 devices" in found.why


def test_a_model_in_use_that_no_number_of_devices_serves_has_an_experiment_too() -> None:
    little = replace(H100, devices_per_node=1, memory_bytes=8e9)
    current, small = (replace(c, accelerator=little) for c in (CURRENT, SMALLER))
    compared = compare(current, (small,), replace(NEED, traffic=Traffic(0.1), target=Target()))
    base, other = compared.options
    assert (base.reason, base.usd_per_month, other.fit) == ("weights", None, "fits")
    found = compared.experiment
    assert found is not None
    assert (found.candidate, found.gains) == ("8b", "service")


def test_nothing_is_recommended_only_where_nothing_else_carries_the_load() -> None:
    assert compare(CURRENT, (), NEED).experiment is None
    never = replace(NEED, target=Target(seconds_per_token=1e-5))
    assert compare(CURRENT, (SMALLER,), never).experiment is None


def test_of_options_that_gain_alike_the_one_that_was_measured_is_tried() -> None:
    same = replace(SMALLER, name="8b-again")
    known = replace(same, name="known", network=SMALLER.network, techniques=())
    found = compare(CURRENT, (SMALLER, same, known), NEED).experiment
    assert found is not None
    assert found.candidate == "known"


def test_devices_at_hand_are_a_limit() -> None:
    found = compare(CURRENT, (SMALLER,), replace(NEED, devices_at_hand=2))
    assert option(found, "70b").fit == "does_not_fit"
    assert option(found, "70b").reason.startswith("needs ")
    assert option(found, "8b").fit == "fits"
    assert found.undominated == ("8b",)


def test_an_impossible_latency_is_named_and_a_narrow_one_is_at_risk() -> None:
    never = compare(CURRENT, (), replace(NEED, target=Target(seconds_per_token=1e-5)))
    assert (never.options[0].fit, never.options[0].reason) == ("does_not_fit", "latency")
    assert never.options[0].usd_per_month is None
    limits = [0.004 * 1.1**step for step in range(20)]
    fits = [
        compare(CURRENT, (), replace(NEED, target=Target(seconds_per_token=limit))).options[0].fit
        for limit in limits
    ]
    order = ["does_not_fit", "at_risk", "fits"]
    assert sorted(fits, key=order.index) == fits
    assert set(fits) == set(order)


# --- evidence for quality


def test_each_finding_has_its_source_its_limits_and_a_known_task() -> None:
    assert len(findings()) > 15
    for found in findings():
        assert found.source
        assert found.limits
        assert found.confidence
        assert set(found.tasks) <= set(get_args(Task))
        assert found.parameters[0] <= found.parameters[1]
        assert "not verified" not in found.how_read.lower()


def test_evidence_for_another_task_says_measure_this() -> None:
    found = evidence(("gguf",), "agentic", "llama", 8e9)
    assert found.matched
    assert not found.measured_on_task
    assert found.advice.startswith("measure this on agentic")


def test_evidence_for_the_task_and_size_is_found_first() -> None:
    found = evidence(("gguf",), "language-modelling", "llama", 70e9)
    assert found.measured_on_task
    assert found.matched[0].finding.id in {"quant_llama2_70b_gguf", "quant_llama3_70b_gguf"}
    first = found.matched[0]
    assert first.same_task
    assert first.same_family
    assert first.same_size
    assert first.distance == min(m.distance for m in found.matched)


def test_a_pair_that_was_measured_covers_its_making_and_nothing_else() -> None:
    made, pair = ("smaller", "distilled"), ("distilbert",)
    found = evidence(made, "classification", "bert", 110e6, pair)
    assert found.measured_on_task
    assert found.matched[0].finding.id == "distilbert"
    assert found.matched[0].same_pair
    assert not evidence(made, "classification", "bert", 110e6).measured_on_task
    assert not evidence(made, "retrieval", "bert", 110e6, pair).measured_on_task
    assert not evidence((*made, "int8"), "classification", "bert", 110e6, pair).measured_on_task


def test_no_finding_says_that_a_smaller_model_is_as_good() -> None:
    for task in get_args(Task):
        assert not evidence(("smaller",), task, "llama", 70e9).measured_on_task


def test_a_technique_without_evidence_is_not_covered_by_the_other() -> None:
    both = evidence(("fp8", "smaller"), "knowledge", "llama", 70e9)
    assert evidence(("fp8",), "knowledge", "llama", 70e9).measured_on_task
    assert not both.measured_on_task


def test_classification_results_are_not_lent_to_generation() -> None:
    found = evidence(("distilled",), "chat", "bert", 110e6)
    assert not found.measured_on_task


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("bf16", None),
        ("fp32", None),
        ("gguf:F16", None),
        ("gguf:Q4_K_M", "gguf"),
        ("gptq-int4-g128", "gptq"),
        ("nf4-double", "nf4"),
        ("fp8-block", "fp8"),
    ],
)
def test_the_technique_of_a_format(weights: str, name: str | None) -> None:
    assert technique(weights) == name


# --- half and a quarter of the size


def test_each_halving_gives_up_more_loss_and_saves_less() -> None:
    job = serving.ServingJob(concurrency=16.0)
    rungs = ladder(reference.network("llama-3.1-8b"), H100, job, 15e12)
    assert [r.factor for r in rungs] == [1.0, 0.5, 0.25]
    assert rungs[0].loss_added == 0.0
    added = [r.loss_added for r in rungs]
    assert added[2] - added[1] > added[1] > 0
    peaks = [r.serving.memory.peak_bytes for r in rungs]
    assert peaks[0] - peaks[1] > peaks[1] - peaks[2] > 0
    speeds = [r.serving.output_tokens_per_second.value for r in rungs]
    assert speeds[0] < speeds[1] < speeds[2] < 4 * speeds[0]


@pytest.mark.parametrize("name", ["mixtral-8x7b", "gemma-3-1b", "deepseek-v3"])
def test_all_that_a_smaller_model_needs_is_smaller(name: str) -> None:
    """At an eighth of the size: weights an eighth, activations a quarter, layers a half."""
    whole = serving.table(reference.network(name))
    same = {"experts", "active_experts", "vocabulary"}
    for kind, amount, small in _paired(whole, scaled(whole, 0.125)):
        shares = (1.0,) if kind in same else (0.125, 0.25, 0.5)
        assert any(small == pytest.approx(amount * share) for share in shares), kind


def _paired(whole: Any, small: Any, kind: str = "") -> Iterator[tuple[str, float, float]]:
    """The numbers of two records beside each other, heads and windows in tokens left out."""
    if isinstance(whole, float | int):
        yield kind, whole, small
    elif isinstance(whole, CacheGroup):
        yield kind, whole.token_bytes, small.token_bytes
    elif kind in ("contexts", "windowed", "around"):
        for (_, amount), (_, less) in zip(whole, small, strict=True):
            yield kind, amount, less
    elif isinstance(whole, tuple):
        for pair in zip(whole, small, strict=True):
            yield from _paired(*pair, kind)
    else:
        for field in fields(whole):
            if field.name != "cross_heads":
                yield from _paired(
                    getattr(whole, field.name), getattr(small, field.name), field.name
                )


def test_the_full_size_of_the_ladder_is_the_model_itself() -> None:
    job, llama = serving.ServingJob(concurrency=16.0), reference.network("llama-3.1-8b")
    assert ladder(llama, H100, job, 15e12)[0].serving == serving.estimate(llama, H100, job)


def test_a_model_that_cannot_read_the_longest_request_does_not_fit() -> None:
    old = candidate("33b", "llama-33b")
    found = option(compare(CURRENT, (old,), replace(NEED, longest_tokens=4_800.0)), "33b")
    assert (found.fit, found.devices) == ("does_not_fit", 0)
    assert found.reason == "reads 2048 tokens; the longest request has 4800"
    assert option(compare(CURRENT, (old,), NEED), "33b").fit == "fits"


def test_the_model_in_use_is_believed_to_read_its_requests() -> None:
    old = candidate("33b", "llama-33b")
    found = compare(old, (), replace(NEED, longest_tokens=4_800.0)).options[0]
    assert found.fit != "does_not_fit"
