from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

import numpy as np
import pytest

from service.calibration import reference
from service.calibration.serving_pool import Stacked
from service.calibration.serving_rows import Row, first_token_rows, rows
from service.core import serving
from service.core.serving import Draft, ServingJob, memory, speed
from service.core.serving.calibration import FITTED, SHARES, document, evidence
from service.core.serving.tables import format_class
from service.core.stacking import stack
from service.core.weight_formats import UnknownFormat

H100 = reference.accelerator("h100-sxm")
H200 = reference.accelerator("h200-sxm")
LLAMA = reference.network("llama-3.1-8b")
JOB = ServingJob(prompt_tokens=1_000.0, output_tokens=250.0, concurrency=8.0)


def errors(chosen: list[Row]) -> np.ndarray:
    """log(predicted / observed) with the shipped coefficients."""
    stacked = Stacked(chosen)
    known = [evidence(r.accelerator, r.engine, format_class(r.weights)).engine for r in chosen]
    step = speed.seconds_per_step(stacked.tables, stacked.replicas, stacked.devices, stack(known))
    return np.asarray(np.log(step) - stacked.observed)


def decode_rows(engine: str) -> list[Row]:
    return [r for r in rows() if r.engine == engine and r.quantity == "decode" and r.use == "fit"]


# --- the shipped coefficients on the measured rows


def test_single_machine_decoding_is_met_within_a_few_per_cent() -> None:
    chosen = [r for r in decode_rows("llama.cpp") if "70b" in r.model]
    assert len(chosen) > 60
    assert fmean(np.abs(np.expm1(errors(chosen)))) < 0.06


@pytest.mark.parametrize("engine", ["vllm", "tensorrt-llm", "sglang"])
def test_server_decoding_is_met_within_a_tenth(engine: str) -> None:
    assert median(np.abs(np.expm1(errors(decode_rows(engine))))) < 0.1


def test_shares_stay_below_one_for_each_pair_and_format() -> None:
    seen = {(r.accelerator, r.engine, format_class(r.weights)) for r in rows()}
    for accelerator, engine, kernels in seen:
        found = evidence(accelerator, engine, kernels).engine
        assert all(0 < getattr(found, name) < 1 for name in SHARES)
        assert all(getattr(found, name) > 0 for name in FITTED)


def test_rows_whose_load_is_unknown_are_not_fitted() -> None:
    """512 asked of gpt-oss-120b, first tokens after minutes: how many ran is not recorded."""
    loads = {r.replica.batch for r in decode_rows("vllm") if r.model == "gpt-oss-120b"}
    assert loads == {4, 8, 16, 32, 64}


def test_rows_whose_prompts_would_take_most_of_the_peak_are_not_fitted() -> None:
    """Llama-3.1-8B in vLLM on an H200: with all prompts computed, 90 % of the FP8 peak."""
    for row in decode_rows("vllm") + decode_rows("sglang") + decode_rows("tensorrt-llm"):
        tokens = row.replica.output_tokens
        flops = speed.request_flops(row.table, row.replica) * row.replica.batch
        peak = row.device.peak_flops * row.replica.devices
        assert flops / (row.observed * tokens * peak) < 0.5


def test_what_was_not_measured_is_said_and_widens_the_interval() -> None:
    pair = serving.estimate(
        LLAMA, reference.accelerator("rtx-3090"), replace(JOB, engine="llama.cpp")
    )
    engine = serving.estimate(
        LLAMA, reference.accelerator("rtx-2080ti"), replace(JOB, engine="llama.cpp")
    )
    neither = serving.estimate(
        LLAMA, reference.accelerator("rtx-3090"), replace(JOB, engine="mine")
    )
    assert [pair.level, engine.level, neither.level] == ["pair", "engine", "none"]
    widths = [
        e.decode_seconds_per_token.high / e.decode_seconds_per_token.low
        for e in (pair, engine, neither)
    ]
    assert all(a < b for a, b in pairwise(widths))


def test_the_time_to_the_first_token_is_met_where_the_load_is_known() -> None:
    found = []
    for row in first_token_rows():
        if row.engine != "vllm":
            continue
        known = evidence(row.accelerator, row.engine, format_class(row.weights)).engine
        value = speed.first_token_seconds(row.table, row.replica, row.device, known)
        found.append(abs(value / row.observed - 1.0))
    assert median(found) < 0.2


def test_the_calibration_file_says_how_it_was_made() -> None:
    found = document()
    assert found["fitted_by"] == "python -m service.calibration.serving"
    assert found["rows"] == sum(r.use == "fit" for r in rows())
    assert all(
        len(v) == len(FITTED)
        for block in ("engines", "kernels", "pairs")
        for v in found[block].values()
    )


# --- memory


def test_the_parts_of_memory_add_up_and_grow_with_the_load() -> None:
    few, many = (serving.estimate(LLAMA, H100, replace(JOB, concurrency=c)) for c in (1.0, 64.0))
    for found in (few, many):
        parts = found.memory
        assert parts.peak_bytes == parts.weights_bytes + parts.cache_bytes + parts.reserved_bytes
    assert many.memory.cache_bytes == 64 * few.memory.cache_bytes == 64 * 131_072 * 1_264


def test_tokens_are_held_in_whole_blocks() -> None:
    table = serving.table(LLAMA)
    sizes = [
        memory.cache_bytes_per_sequence(table, serving.Replica(), tokens)
        for tokens in (1.0, 16.0, 17.0)
    ]
    assert sizes == [16 * 131_072, 16 * 131_072, 32 * 131_072]


def test_engines_divide_the_same_memory_differently() -> None:
    """Of the total, of the total without workspaces, and of what is left."""
    budgets = {
        engine: serving.estimate(LLAMA, H100, replace(JOB, engine=engine))
        for engine in ("vllm", "sglang", "tensorrt-llm", "llama.cpp")
    }
    usable = H100.memory_bytes * memory.USABLE
    assert budgets["vllm"].capacity_bytes == pytest.approx(0.9 * usable)
    left = usable - budgets["tensorrt-llm"].memory.weights_bytes
    left -= budgets["tensorrt-llm"].memory.reserved_bytes
    assert budgets["tensorrt-llm"].cache_budget_bytes == pytest.approx(0.9 * left)
    assert budgets["llama.cpp"].capacity_bytes == pytest.approx(usable)
    assert all(b.capacity_bytes <= usable for b in budgets.values())


def test_a_logged_cache_of_an_l40s_is_met() -> None:
    """vLLM pull request 17122: Llama-3.1-8B in bf16 on an L40S leaves room for 158,656 tokens."""
    found = serving.estimate(LLAMA, reference.accelerator("l40s"), JOB)
    assert found.cache_budget_bytes / 131_072 == pytest.approx(158_656, rel=0.15)


def test_a_pass_of_whole_prompts_is_met() -> None:
    """Qwen2.5's authors: 19.97 GiB allocated for 30,720 tokens on the 7B under transformers."""
    job = replace(JOB, engine="transformers", concurrency=1.0)
    job = replace(job, prompt_tokens=30_720.0, output_tokens=2_048.0)
    held = serving.estimate(reference.network("qwen2.5-7b"), H100, job).memory
    allocated = held.peak_bytes - memory.BUDGETS["transformers"].fixed_bytes
    assert allocated == pytest.approx(19.97 * 2**30, rel=0.005)
    shorter = serving.estimate(
        reference.network("qwen2.5-7b"), H100, replace(job, cached_prefix=15_360.0)
    )
    assert shorter.memory.prompt_bytes == pytest.approx(held.prompt_bytes / 2, rel=0.01)


def test_sequences_whose_prompts_pass_together_are_fewer() -> None:
    job = replace(JOB, engine="transformers", prompt_tokens=8_192.0, concurrency=4.0)
    found = serving.estimate(LLAMA, H100, job)
    full = replace(job, concurrency=found.mean_concurrency)
    assert serving.estimate(LLAMA, H100, full).memory.peak_bytes < found.capacity_bytes
    beyond = replace(job, concurrency=found.mean_concurrency + 1.0)
    assert serving.estimate(LLAMA, H100, beyond).memory.peak_bytes > found.capacity_bytes


def test_a_logged_pass_is_met() -> None:
    """vLLM issue 10517: 9,000 tokens more of Llama-3.1-8B in one pass take 0.92 GiB more."""
    table, rule = serving.table(LLAMA), memory.BUDGETS["vllm"]
    more = replace(rule, batched_tokens=rule.batched_tokens + 9_000)
    grown = memory.workspace_bytes(table, serving.Replica(), more)
    grown -= memory.workspace_bytes(table, serving.Replica(), rule)
    assert grown == pytest.approx(0.92 * 2**30, rel=0.02)


def test_the_longest_sequence_bounds_and_the_mean_one_admits() -> None:
    found = serving.estimate(LLAMA, H100, replace(JOB, longest_tokens=8_192.0, concurrency=500.0))
    assert found.max_concurrency < found.batch <= found.mean_concurrency
    assert found.mean_concurrency == found.cache_budget_bytes // (131_072 * 1_264)


def test_what_does_not_fit_holds_nothing() -> None:
    found = serving.estimate(reference.network("llama-3.1-70b"), H100, JOB)
    assert found.max_concurrency == 0
    assert found.memory.weights_bytes > found.capacity_bytes


# --- speed


def test_a_mixture_reads_only_the_experts_that_its_tokens_use() -> None:
    table = serving.table(reference.network("qwen3-30b-a3b"))
    shares = [speed.experts_read(table, tokens) for tokens in (1.0, 8.0, 1_000.0)]
    assert shares[0] == pytest.approx(8 / 128)
    assert shares[1] == pytest.approx(1 - (1 - 8 / 128) ** 8)
    assert shares[2] == pytest.approx(1.0)
    assert table.expert_bytes > 0.9 * table.weights_bytes
    assert speed.experts_read(serving.table(LLAMA), 3.0) == 1.0


def test_a_mixture_holds_all_experts_and_decodes_as_fast_as_its_active_part() -> None:
    a3b = serving.estimate(reference.network("qwen3-30b-a3b"), H200, replace(JOB, concurrency=1.0))
    dense = serving.estimate(reference.network("qwen3-32b"), H200, replace(JOB, concurrency=1.0))
    assert a3b.weights_bytes > 0.9 * dense.weights_bytes
    assert a3b.decode_seconds_per_token.value < 0.5 * dense.decode_seconds_per_token.value


def test_throughput_rises_with_the_batch_and_each_token_gets_slower() -> None:
    found = serving.estimate(
        LLAMA, H100, replace(JOB, concurrency=np.array([1.0, 4.0, 16.0, 64.0]))
    )
    assert (np.diff(found.output_tokens_per_second.value) > 0).all()
    assert (np.diff(found.decode_seconds_per_token.value) > 0).all()
    assert (np.diff(found.first_token_seconds.value) > 0).all()
    assert (found.model_flops_utilization < 1).all()
    assert (found.bandwidth_utilization <= 1).all()


def test_what_a_device_is_asked_beyond_its_memory_does_not_run_at_once() -> None:
    within, beyond = (
        serving.estimate(LLAMA, H100, replace(JOB, concurrency=c)) for c in (300.0, 9_999.0)
    )
    assert beyond.batch == beyond.mean_concurrency < 9_999
    assert beyond.output_tokens_per_second.value >= within.output_tokens_per_second.value


def test_at_batch_one_fewer_bytes_are_faster() -> None:
    times = [
        serving.estimate(
            LLAMA,
            reference.accelerator("rtx-3090"),
            replace(JOB, weights=w, engine="llama.cpp", concurrency=1.0),
        ).decode_seconds_per_token.value
        for w in ("gguf:F16", "gguf:Q8_0", "gguf:Q4_K_M")
    ]
    assert times == sorted(times, reverse=True)


def test_a_cached_prefix_shortens_the_prompt_and_not_the_context() -> None:
    cold, warm = (
        serving.estimate(LLAMA, H100, replace(JOB, prompt_tokens=8_000.0, cached_prefix=c))
        for c in (0.0, 7_000.0)
    )
    assert warm.prefill_seconds.value < 0.4 * cold.prefill_seconds.value
    assert warm.memory.cache_bytes == cold.memory.cache_bytes
    assert warm.decode_seconds_per_token.value < cold.decode_seconds_per_token.value


def test_a_long_prompt_costs_more_than_its_length() -> None:
    short, long = (
        serving.estimate(LLAMA, H100, replace(JOB, prompt_tokens=p)).prefill_seconds.value
        for p in (16_384.0, 65_536.0)
    )
    assert long > 4.5 * short


@pytest.mark.parametrize(
    ("drafted", "acceptance", "expected"),
    [(0.0, 0.7, 1.0), (4.0, 0.0, 1.0), (4.0, 1.0, 5.0), (3.0, 0.5, 1.875)],
)
def test_tokens_a_verification(drafted: float, acceptance: float, expected: float) -> None:
    assert speed.speculative_tokens(drafted, acceptance) == pytest.approx(expected, rel=1e-6)


def test_a_draft_pays_only_where_its_tokens_are_kept() -> None:
    large = reference.network("llama-3.1-70b")
    alone = replace(JOB, weights="fp8", concurrency=1.0)
    plain, kept, refused = (
        serving.estimate(large, H200, replace(alone, draft=draft))
        for draft in (None, Draft(4.0, 0.9, LLAMA), Draft(4.0, 0.0, LLAMA))
    )
    speeds = [e.output_tokens_per_second.value for e in (refused, plain, kept)]
    assert speeds == sorted(speeds)
    assert kept.memory.weights_bytes - plain.memory.weights_bytes == 16_060_522_496
    length = JOB.prompt_tokens + JOB.output_tokens
    assert kept.memory.cache_bytes - plain.memory.cache_bytes == 131_072 * -(-length // 16) * 16
    assert kept.max_concurrency < plain.max_concurrency


def test_a_draft_without_a_model_costs_what_is_said_and_holds_nothing() -> None:
    alone = replace(JOB, concurrency=1.0)
    plain, free, dear = (
        serving.estimate(LLAMA, H200, replace(alone, draft=draft))
        for draft in (None, Draft(3.0, 0.5), Draft(3.0, 0.5, relative_cost=1.0))
    )
    assert free.memory == dear.memory == plain.memory
    assert free.drafting is not None
    assert free.drafting.tokens_per_verification == pytest.approx(1.875)
    assert 1.0 < free.drafting.speed_ratio < 1.875
    assert dear.drafting is not None
    assert dear.drafting.speed_ratio < 0.5


def test_tensor_ways_speed_up_and_pipeline_stages_only_make_room() -> None:
    large = reference.network("llama-3.1-70b")
    base = replace(JOB, weights="fp8", concurrency=1.0, engine="tensorrt-llm")
    single, split, staged = (
        serving.estimate(large, H200, replace(base, tensor=t, pipeline=p))
        for t, p in ((1.0, 1.0), (4.0, 1.0), (1.0, 4.0))
    )
    assert split.decode_seconds_per_token.value < 0.6 * single.decode_seconds_per_token.value
    assert staged.decode_seconds_per_token.value == single.decode_seconds_per_token.value
    assert staged.memory.weights_bytes == single.memory.weights_bytes / 4
    assert staged.cache_bytes_per_token_per_device == single.cache_bytes_per_token_per_device / 4


def test_the_input_embedding_is_held_and_not_read() -> None:
    table = serving.table(LLAMA)
    assert table.weights_bytes - table.step_bytes == 128_256 * 4_096 * 2
    tied = serving.table(reference.network("llama-3.2-1b"))
    assert tied.weights_bytes == tied.step_bytes


def test_a_prompt_needs_the_head_for_its_last_token_only() -> None:
    table = serving.table(LLAMA)
    layers = 8_030_261_248 - 2 * 128_256 * 4_096 - 65 * 4_096
    assert table.prompt.linear == table.token_flops == 2 * layers
    assert table.head_flops == 2 * 128_256 * 4_096


def test_an_encoder_reads_the_prompt_and_the_decoder_writes_the_answer() -> None:
    table = serving.table(reference.network("t5-base"))
    assert 0 < table.step_bytes < 0.75 * table.weights_bytes
    assert table.prompt.linear < table.token_flops
    assert table.crossed.linear > 0


def test_floats_and_arrays_give_the_same_numbers() -> None:
    loads = np.array([1.0, 7.0, 100.0, 5_000.0])
    together = serving.estimate(LLAMA, H100, replace(JOB, concurrency=loads))
    for place, load in enumerate(loads):
        alone = serving.estimate(LLAMA, H100, replace(JOB, concurrency=float(load)))
        for name in ("decode_seconds_per_token", "first_token_seconds"):
            found, wanted = getattr(together, name), getattr(alone, name)
            np.testing.assert_allclose(
                [np.broadcast_to(part, loads.shape)[place] for part in found], wanted, rtol=1e-12
            )
        assert together.batch[place] == alone.batch


@pytest.mark.parametrize("weights", ["", "int3", "gguf:Q4_K_XXL"])
def test_an_unknown_format_is_refused(weights: str) -> None:
    with pytest.raises(UnknownFormat):
        serving.estimate(LLAMA, H100, replace(JOB, weights=weights))


# --- groups with sequences of their own

MIXTURE = reference.network("qwen3-30b-a3b")
DEALT = replace(JOB, engine="tensorrt-llm", concurrency=256.0, data=4.0)


def test_groups_hold_the_dense_weights_whole_and_share_the_experts() -> None:
    found = serving.estimate(MIXTURE, H200, DEALT)
    folded = serving.table(MIXTURE, "bf16", "bf16")
    dense = folded.weights_bytes - folded.expert_bytes
    assert found.memory.weights_bytes == pytest.approx(dense + folded.expert_bytes / 4.0)
    one = serving.estimate(MIXTURE, H200, replace(DEALT, data=1.0, concurrency=64.0))
    assert found.memory.cache_bytes == one.memory.cache_bytes
    assert found.devices == 4.0


def test_groups_read_more_experts_a_step_than_one_and_less_of_each_on_a_device() -> None:
    folded = serving.table(MIXTURE, "bf16", "bf16")
    few, many = speed.experts_read(folded, 8.0), speed.experts_read(folded, 32.0)
    assert many > few
    assert many / 4.0 < few


def test_an_eager_engine_waits_for_the_slower_of_launches_and_kernels() -> None:
    small, large = reference.network("qwen3-0.6b"), reference.network("qwen3-32b")
    seconds = [
        serving.estimate(n, H100, replace(JOB, engine="transformers", concurrency=1.0))
        for n in (small, large)
    ]
    launches = [serving.table(n, "bf16", "bf16").launches for n in (small, large)]
    each = [s.decode_seconds_per_token.value / n for s, n in zip(seconds, launches, strict=True)]
    assert each[0] == pytest.approx(each[1], rel=0.05)
