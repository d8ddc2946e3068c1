from __future__ import annotations

import pytest

from service.core import carbon, claims, energy
from service.core.uncertainty import Interval

V100_PEAK = 1.25e14
V100_SHARE = Interval(0.21, 0.17, 0.30)


def exact(value: float) -> Interval:
    return Interval(value, value, value)


def size_only(parameters: float, tokens: Interval, peak: float = 3.12e14) -> Interval:
    return claims.device_hours_from_size(parameters, tokens, peak, energy.typical_utilization())


def one(checks: tuple[claims.Check, ...], quantity: str) -> claims.Check:
    return next(check for check in checks if check.quantity == quantity)


def test_gpt_3_in_3200_gpu_hours_is_off_a_thousandfold() -> None:
    hours = claims.device_hours_from_size(174.6e9, exact(3e11), V100_PEAK, V100_SHARE)
    assert hours.low < 3.55e6 < hours.high
    check = claims.check_quantity("device_hours", 3_200.0, hours)
    assert check.verdict == "inconsistent"
    assert check.factor == pytest.approx(1_000, rel=0.15)
    assert "less" in check.reason


def test_hours_and_days_of_one_claim_speak_of_five_devices() -> None:
    assert claims.implied_devices(3_200, 28) == pytest.approx(4.76, abs=0.01)


@pytest.mark.parametrize(("parameters", "hours"), [(1e9, 80.0), (6e9, 400.0)])
def test_small_models_in_tens_of_hours_are_off_even_at_twenty_tokens_a_parameter(
    parameters: float, hours: float
) -> None:
    ours = size_only(parameters, exact(20 * parameters))
    check = claims.check_quantity("device_hours", hours, ours)
    assert check.verdict == "inconsistent"
    assert check.factor is not None
    assert check.factor > 3


def test_a_lower_bound_that_is_a_thousandfold_too_low_misleads() -> None:
    ours = size_only(1.7e12, exact(3e11))
    (check,) = claims.check_claim(
        {"parameters": 1.7e12, "device_hours": 10_000, "at_least": True}, {"device_hours": ours}
    )
    assert check.verdict == "inconsistent"
    assert "lower bound" in check.reason
    close = claims.check_quantity("device_hours", 0.6 * ours.low, ours, at_least=True)
    assert close.verdict == "consistent"
    assert (
        claims.check_quantity("device_hours", 2 * ours.high, ours, at_least=True).verdict
        == "inconsistent"
    )


def test_days_without_a_number_of_devices_are_unverifiable_and_say_how_many_it_takes() -> None:
    ours = claims.device_hours_from_size(175e9, exact(3e11), V100_PEAK, V100_SHARE)
    (check,) = claims.check_claim(
        {"parameters": 175e9, "wall_clock_days": 28}, {"device_hours": ours}
    )
    assert check.verdict == "unverifiable"
    assert "4,96" in check.reason or "4,97" in check.reason


def test_days_with_a_number_of_devices_are_checked() -> None:
    ours = claims.device_hours_from_size(174.6e9, exact(3e11), V100_PEAK, V100_SHARE)
    assert claims.check_wall_clock(14.8, ours, 10_000).verdict == "consistent"
    assert claims.check_wall_clock(14.8, ours, 100).verdict == "inconsistent"


@pytest.mark.parametrize(
    ("claimed", "ours", "verdicts"),
    [
        ((25e6, 100e6), (exact(25_557_032), exact(4 * 25_557_032)), ("consistent", "consistent")),
        (
            (25e6, 150e6),
            (
                Interval(23_834_568, 23_834_568, 27_161_264),
                Interval(4 * 23_834_568, 4 * 23_834_568, 4 * 27_161_264),
            ),
            ("consistent", "inconsistent"),
        ),
        ((1.5e9, 10e9), (exact(257e6), exact(4 * 257e6)), ("inconsistent", "inconsistent")),
        ((8.3e9, 50e9), (exact(8.3e9), exact(4 * 8.3e9)), ("consistent", "inconsistent")),
    ],
    ids=["resnet-50", "inception-v3", "transformer-xl", "megatron-lm"],
)
def test_sizes_and_memory_of_the_articles_get_their_verdicts(
    claimed: tuple[float, float],
    ours: tuple[Interval, Interval],
    verdicts: tuple[str, str],
) -> None:
    checks = claims.check_claim(
        {"model": "x", "parameters": claimed[0], "memory_bytes": claimed[1]},
        {"parameters": ours[0], "memory_bytes": ours[1]},
    )
    assert one(checks, "parameters").verdict == verdicts[0]
    assert one(checks, "memory_bytes").verdict == verdicts[1]
    assert claims.overall(checks) == max(verdicts)


def test_distilbert_is_forty_percent_smaller() -> None:
    smaller = claims.relative_reduction(exact(66_362_880), exact(109_482_240))
    assert smaller.value == pytest.approx(0.394, abs=0.001)
    assert claims.check_quantity("size_reduction", 0.4, smaller).verdict == "consistent"


def test_sixty_percent_faster_means_more_done_in_the_same_time() -> None:
    faster = claims.relative_speedup(Interval(1.0, 0.9, 1.1), Interval(1.6, 1.4, 1.8))
    assert faster.value == pytest.approx(0.6)
    assert faster.low < 0.6 < faster.high
    assert claims.check_quantity("speedup", 0.6, faster).verdict == "consistent"


def test_five_cars_was_a_search_and_measured_out_eighty_times_smaller() -> None:
    """Strubell et al. estimated 284 t; Patterson et al. measured 7.5 MWh and 3.2 t."""
    tpu = energy.power_envelope("tpu-v2", 280.0, 50.0)
    used = energy.training_energy(
        exact(200 * 6.8 * 24), tpu, exact(0.539), energy.power_slope("bf16"), pue=1.10
    )
    ours = carbon.operational_kgco2e(used.total_kwh, 431.0)
    assert ours.low < 3_200 < ours.high * 1.05
    check = claims.check_quantity("kgco2e", 284_019.0, ours)
    assert check.verdict == "inconsistent"
    assert check.factor == pytest.approx(88, rel=0.2)


def test_five_cars_as_arithmetic_is_right() -> None:
    cars = carbon.equivalents(exact(284_019.0))[1][0]
    assert claims.check_quantity("cars", 5.0, cars).verdict == "consistent"


def test_a_closed_model_is_unverifiable_and_says_why() -> None:
    checks = claims.check_claim({"model": "claude", "parameters": 175e9, "closed": True}, {})
    assert claims.overall(checks) == "unverifiable"
    assert "closed" in checks[0].reason


@pytest.mark.parametrize(
    "quantities",
    [
        {"parameters": 1e9, "perplexity": 20},
        {"model": "resnet-18", "top1_small": 0.65, "top1_large": 0.7},
        {"model": "distilbert", "quality": 0.95, "task": "question answering"},
        {"task": "simple", "parameters_low": 1e9, "parameters_high": 6e9},
        {"kind": "law"},
    ],
)
def test_what_no_description_settles_is_unverifiable_with_a_reason(
    quantities: dict[str, object],
) -> None:
    checks = claims.check_claim(quantities, {})
    assert claims.overall(checks) == "unverifiable"
    assert all(len(check.reason) > 20 for check in checks)


def test_the_caller_can_say_why_an_estimate_is_missing() -> None:
    (check,) = claims.check_claim({"kind": "law"}, {}, {"kind": "no size is named"})
    assert check.reason == "no size is named"


def test_the_factor_is_the_larger_over_the_smaller() -> None:
    assert claims.factor_between(2.0, 8.0) == claims.factor_between(8.0, 2.0) == 4.0
    assert claims.factor_between(0.0, 0.0) == 1.0
    assert claims.factor_between(0.0, 1.0) == float("inf")
