from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from service.calibration import energy as calibration
from service.calibration.kernel_power import Kernels
from service.calibration.training_power import rows
from service.core import energy
from service.core.uncertainty import Interval

H100 = energy.power_envelope("h100-sxm", 700.0, 70.0)
BF16 = energy.power_slope("bf16")


def exact(value: float) -> Interval:
    return Interval(value, value, value)


@pytest.fixture(scope="module")
def found() -> list[calibration.BacktestRow]:
    return calibration.backtest()


def of(found: list[calibration.BacktestRow], source: str) -> list[calibration.BacktestRow]:
    return [row for row in found if row.source == source]


@pytest.mark.parametrize("utilization", [0.39, 0.43, 0.5, 0.6, 0.75, 1.0])
def test_eight_h100_in_training_draw_7_75_to_8_4_kilowatts_of_10_2_rated(
    utilization: float,
) -> None:
    node = energy.device_watts(H100, exact(utilization), BF16).times(8.0)
    assert 7_750 <= node.value <= 8_400
    assert node.low < 8_400 < 10_200
    assert node.high > 7_750


def test_power_rises_with_utilization_and_saturates_at_the_limit() -> None:
    shares = energy.accelerator_power_share(np.linspace(0.0, 1.0, 101), BF16)
    steps = np.diff(shares)
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()
    assert 0.97 < shares[-1] < 1.0


def test_bf16_at_a_third_of_the_peak_draws_about_three_quarters_of_the_limit() -> None:
    measured = {"H200": 0.719, "GB200": 0.759, "B200": 0.856}
    ours = energy.accelerator_power_share(0.35, BF16)
    assert min(measured.values()) - 0.05 < ours < max(measured.values()) + 0.05


def test_narrow_formats_reach_the_limit_at_a_smaller_share_of_their_peak() -> None:
    shares = [
        energy.accelerator_power_share(0.2, energy.power_slope(name))
        for name in ("bf16", "fp8", "fp4")
    ]
    assert shares == sorted(shares)
    assert len(set(shares)) == 3


def test_memory_traffic_alone_wakes_the_device() -> None:
    decode = energy.accelerator_power_share(0.02, BF16, 0.8)
    assert decode > energy.accelerator_power_share(0.02, BF16, 0.1) + 0.2


def test_the_curve_beats_a_linear_one_and_plain_tdp_on_kernels_it_has_not_seen() -> None:
    kernels = Kernels(rows("kernel_power"))
    everything = np.ones(len(kernels.share), dtype=bool)
    ours = np.abs(kernels.residuals_left_out(everything)).mean()
    linear = np.abs(0.2 + 0.8 * kernels.utilization - kernels.share).mean()
    assert ours < 0.6 * linear
    assert ours < 0.5 * np.abs(1.0 - kernels.share).mean()


def test_a_device_that_waits_half_of_a_step_computes_at_twice_the_mean_up_to_its_peak() -> None:
    waiting = energy.coefficient("waiting_share")
    for mean, computing in ((0.3, 0.6), (0.5, 1.0), (0.8, 1.0)):
        busy = energy.accelerator_power_share(computing, BF16)
        assert energy.step_power_share(mean, BF16, 0.5) == pytest.approx((busy + waiting) / 2.0)


def test_waiting_has_its_own_power_between_idle_and_busy() -> None:
    busy = energy.step_power_share(0.4, BF16)
    half = energy.step_power_share(0.4, BF16, compute_share=0.5)
    waiting = energy.step_power_share(0.0, BF16, compute_share=0.0)
    assert waiting == energy.coefficient("waiting_share")
    assert waiting < half < busy


def test_the_host_of_an_h100_draws_270_to_370_watts_and_smaller_nodes_less() -> None:
    assert 270 <= energy.host_watts(700.0) <= 370
    assert 80 <= energy.host_watts(300.0) <= 120
    tdps = np.array([72.0, 300.0, 400.0, 700.0, 1000.0])
    assert (np.diff(energy.host_watts(tdps)) > 0).all()


def test_tpus_follow_their_measured_envelope_and_not_the_vendor_limit() -> None:
    v3 = energy.power_envelope("tpu-v3", 450.0, 60.0)
    assert v3.limit_watts < 0.8 * 450
    assert v3.host_watts == 0
    assert energy.device_watts(v3, exact(0.35), BF16).value == pytest.approx(283, rel=0.05)


def test_parts_add_up_to_the_total_and_pue_is_applied_once() -> None:
    parts = energy.training_energy(
        exact(1e6), H100, exact(0.4), BF16, pue=1.2, idle_device_hours=1e5, programme_factor=1.5
    )
    added = (
        parts.accelerators_kwh
        + parts.host_kwh
        + parts.network_storage_kwh
        + parts.idle_reserved_kwh
        + parts.building_kwh
        + parts.programme_kwh
    )
    assert added == pytest.approx(parts.total_kwh.value)
    assert parts.total_kwh.value == pytest.approx(1.2 * parts.it_kwh.value)
    assert parts.idle_reserved_kwh == pytest.approx(1e5 * (70 + H100.host_watts) / 1e3)


def test_the_programme_factor_is_off_unless_given() -> None:
    once = energy.training_energy(exact(1e4), H100, exact(0.4), BF16, pue=1.1)
    twice = energy.training_energy(exact(1e4), H100, exact(0.4), BF16, 1.1, programme_factor=2.0)
    assert once.programme_kwh == 0
    assert twice.total_kwh.value == pytest.approx(2 * once.total_kwh.value)


def test_gpu_energy_times_1_74_is_the_data_centre_as_the_olmo_3_study_found() -> None:
    parts = energy.training_energy(exact(1e6), H100, exact(0.43), BF16, pue=1.12)
    assert parts.total_kwh.value / parts.accelerators_kwh == pytest.approx(1.74, rel=0.05)


def test_unknown_utilization_and_unknown_hours_widen_the_interval() -> None:
    known = energy.device_watts(H100, exact(0.318), BF16)
    unknown = energy.device_watts(H100, energy.typical_utilization(), BF16)
    assert unknown.low < known.low < known.value < known.high < unknown.high
    hours = Interval(1e4, 7e3, 1.4e4)
    parts = energy.training_energy(hours, H100, energy.typical_utilization(), BF16, 1.1)
    assert parts.total_kwh.high / parts.total_kwh.value > 1.4


def test_arrays_give_what_floats_give() -> None:
    utilization = np.array([0.05, 0.2, 0.4, 0.8])
    share = np.array([0.3, 0.9, 1.0, 0.8])
    swept = energy.training_energy(
        Interval(utilization * 1e4, utilization * 9e3, utilization * 2e4),
        H100,
        Interval(utilization, utilization, utilization),
        BF16,
        pue=1.1,
        compute_share=share,
    )
    for i, u in enumerate(utilization.tolist()):
        hours = Interval(u * 1e4, u * 9e3, u * 2e4)
        one = energy.training_energy(hours, H100, exact(u), BF16, 1.1, compute_share=share[i])
        assert swept.total_kwh.value[i] == pytest.approx(one.total_kwh.value)
        assert swept.total_kwh.high[i] == pytest.approx(one.total_kwh.high)
        assert swept.accelerators_kwh[i] == pytest.approx(one.accelerators_kwh)


def test_circular_rows_are_reproduced_within_two_percent(
    found: list[calibration.BacktestRow],
) -> None:
    circular = of(found, "circular arithmetic")
    assert len(circular) >= 30
    assert max(abs(row.error) for row in circular) < 0.02
    assert not any(row.set_aside for row in circular)


def test_measured_energy_is_within_fifteen_percent_from_hours_and_hardware(
    found: list[calibration.BacktestRow],
) -> None:
    measured = [row for row in of(found, "measured runs and nodes") if row.set_aside]
    assert len(measured) >= 9
    assert np.median([abs(row.error) for row in measured]) < 0.15
    assert max(abs(row.error) for row in measured) < 0.20


def test_hours_and_hardware_are_enough_where_the_utilization_is_not_known() -> None:
    errors = []
    for row in rows("training_power"):
        if row["energy_kwh"] and row["use"] != "unclear":
            tdp = float(row["tdp_watts"])
            envelope = energy.power_envelope(row["accelerator"], tdp, 0.0)
            if row["scope"] == "accelerator":
                envelope = energy.PowerEnvelope(tdp, 0.0, 0.0)
            watts = energy.device_watts(envelope, energy.typical_utilization(), BF16)
            kwh = watts.times(float(row["device_hours"]) * float(row["pue"] or 1) / 1e3)
            errors.append(abs(kwh.value / float(row["energy_kwh"]) - 1))
    assert len(errors) >= 10
    assert np.median(errors) < 0.15


def test_measured_energy_is_within_thirty_percent_from_the_card_alone(
    found: list[calibration.BacktestRow],
) -> None:
    cards = of(found, "model card without hours")
    assert np.median([abs(row.error) for row in cards if row.set_aside]) < 0.30


def test_ninety_percent_intervals_hold_86_to_94_percent_of_what_was_set_aside(
    found: list[calibration.BacktestRow],
) -> None:
    held = [row.inside for row in found if row.set_aside]
    assert len(held) > 100
    assert 0.86 <= np.mean(held) <= 0.94
    runs = [row.inside for row in of(found, "measured runs and nodes") if row.set_aside]
    assert np.mean(runs) >= 0.86


def test_the_calibration_file_is_what_the_fit_gives() -> None:
    stored = files("service.core").joinpath("calibration_data/energy.json").read_text("utf-8")
    again = calibration.fit()
    for name, entry in json.loads(stored)["coefficients"].items():
        assert again["coefficients"][name]["value"] == pytest.approx(entry["value"], rel=1e-3)
    assert again["envelopes"].keys() == json.loads(stored)["envelopes"].keys()


@pytest.mark.parametrize("name", ["training_power", "card_energy", "typical_utilization"])
def test_no_row_that_is_only_recalled_is_fitted_or_judged(name: str) -> None:
    used = [row for row in rows(name) if row.get("use") != "unclear"]
    assert used
    assert not [row["case"] for row in used if "recalled" in row["source"]]


def test_pattersons_energies_include_the_pue_already() -> None:
    for row in rows("training_power"):
        if "2104.10350" in row["source"] and row["energy_kwh"] and float(row["energy_kwh"]) > 1e3:
            hours, watts = float(row["device_hours"]), float(row["watts"])
            again = energy.reported_energy_kwh(hours, watts, float(row["pue"]))
            assert again == pytest.approx(float(row["energy_kwh"]), rel=0.01)


def test_an_unknown_number_format_is_an_error() -> None:
    with pytest.raises(KeyError):
        energy.power_slope("int3")
