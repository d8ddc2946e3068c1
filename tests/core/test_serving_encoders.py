"""An encoder is served in passes over whole inputs, and decodes nothing."""

from __future__ import annotations

import pytest

from service.calibration import reference
from service.core import serving
from service.core.serving import ServingJob, encoding
from service.core.serving.fleet import Fleet, Target, Traffic, Unservable, fewest_devices

H100 = reference.accelerator("h100-sxm")
BERT = reference.network("bert-base")


def job(tokens: float = 128.0, concurrency: float = 1.0, engine: str = "vllm") -> ServingJob:
    return ServingJob(
        engine=engine, prompt_tokens=tokens, output_tokens=1.0, concurrency=concurrency
    )


def test_a_model_that_generates_is_estimated_as_ever() -> None:
    llama = reference.network("llama-3.1-8b")
    asked = ServingJob(concurrency=8.0)
    assert encoding.estimate(llama, H100, asked) == serving.estimate(llama, H100, asked)


def test_one_input_takes_as_long_as_a_prompt_and_nothing_is_decoded() -> None:
    alone = encoding.estimate(BERT, H100, job())
    prompt = serving.estimate(BERT, H100, job()).prefill_seconds.value
    assert alone.first_token_seconds.value == pytest.approx(prompt, rel=0.05)
    assert alone.decode_seconds_per_token.value == 0.0
    assert alone.memory.cache_bytes == 0.0


def test_answers_a_second_are_the_inputs_in_flight_over_the_time_of_one() -> None:
    for concurrency in (1.0, 16.0, 64.0, 1_000.0):
        found = encoding.estimate(BERT, H100, job(concurrency=concurrency))
        rate, waited = found.requests_per_second, found.first_token_seconds
        assert rate.value * waited.value == pytest.approx(concurrency)
        assert rate.low * waited.high == pytest.approx(concurrency)
        assert found.output_tokens_per_second == rate


def test_inputs_share_a_pass_until_it_is_full() -> None:
    """vLLM schedules 8,192 tokens a pass: 64 inputs of 128."""
    rates = [
        encoding.estimate(BERT, H100, job(concurrency=n)).requests_per_second.value
        for n in (1.0, 8.0, 64.0, 128.0, 256.0)
    ]
    assert rates[0] < rates[1] < rates[2]
    assert rates[3] == pytest.approx(rates[2])
    assert rates[4] == pytest.approx(rates[2])


def test_model_flops_are_the_inputs_over_the_peak() -> None:
    found = encoding.estimate(BERT, H100, job(concurrency=64.0))
    table = serving.table(BERT, "bf16", "bf16")
    flops = table.prompt.at(128.0) + table.prompt_pairs.at(128.0)
    peak = H100.device("bf16").peak_flops
    expected = flops * found.requests_per_second.value / peak
    assert found.model_flops_utilization == pytest.approx(expected)
    assert 0 < found.model_flops_utilization < 1
    assert 0 < found.bandwidth_utilization < 1


def test_layers_that_share_their_weights_take_their_time_each() -> None:
    """ALBERT has a ninth of BERT's parameters and its FLOPs."""
    albert = reference.network("albert-base-v2")
    ours, theirs = (encoding.estimate(n, H100, job(concurrency=64.0)) for n in (albert, BERT))
    assert ours.weights_bytes < theirs.weights_bytes / 8
    ratio = ours.requests_per_second.value / theirs.requests_per_second.value
    assert ratio == pytest.approx(1.0, abs=0.15)


def test_under_the_engine_that_was_measured_the_pass_is_that_of_its_rows() -> None:
    """NVIDIA's table: BERT-large, A100 of 40 GB, 32 inputs of 128 tokens in 12.89 ms."""
    machine, large = reference.accelerator("a100-sxm4-40gb"), reference.network("bert-large")
    found = encoding.estimate(large, machine, job(128.0, 32.0, "tensorrt-llm"))
    assert found.level == "pair"
    assert found.first_token_seconds.low < 12.89e-3 < found.first_token_seconds.high
    assert found.first_token_seconds.value == pytest.approx(12.89e-3, rel=0.1)
    elsewhere = encoding.estimate(large, H100, job(128.0, 32.0, "tensorrt-llm"))
    assert elsewhere.level == "engine"
    wide, narrow = elsewhere.first_token_seconds, found.first_token_seconds
    assert wide.high / wide.low > narrow.high / narrow.low
    assert not encoding.measured("vllm", "bf16")
    assert not encoding.measured("tensorrt-llm", "fp8")


@pytest.mark.parametrize("engine", serving.ENGINES)
@pytest.mark.parametrize("tokens", [1.0, 128.0, 1e6])
def test_every_engine_serves_an_encoder(engine: str, tokens: float) -> None:
    found = encoding.estimate(BERT, H100, job(tokens, 4.0, engine))
    assert 0 < found.first_token_seconds.low < found.first_token_seconds.high
    fleet = fewest_devices(BERT, H100, job(tokens, engine=engine), Traffic(1.0), Target())
    assert isinstance(fleet, Fleet) or fleet.reason in ("weights", "cache")


def test_a_fleet_of_encoders_meets_its_limit_at_the_upper_end() -> None:
    traffic = Traffic(20_000.0)
    for limit, fits in ((0.1, True), (1e-4, False)):
        found = fewest_devices(BERT, H100, job(), traffic, Target(request_seconds=limit))
        assert isinstance(found, Fleet if fits else Unservable)
        if isinstance(found, Fleet):
            assert found.at_peak.first_token_seconds.high <= limit
            assert found.capacity_requests_per_second >= 20_000.0
