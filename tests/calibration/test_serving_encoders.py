"""Passes of encoders: what was measured, and how well the fit foretells what it has not seen."""

from __future__ import annotations

import json
from statistics import fmean, median

import numpy as np
import pytest

from service.calibration import serving_encoders as calibration
from service.core.serving import encoding


def test_each_row_has_a_source_a_known_machine_and_a_known_model() -> None:
    measured = calibration.rows()
    assert len(measured) == 320
    assert {row.model for row in measured} == {"bert-base", "bert-large"}
    assert len({row.accelerator for row in measured}) == 5
    assert all(row.source and row.seconds > 0 and row.device.peak_flops for row in measured)


def test_what_is_shipped_foretells_its_rows() -> None:
    shipped = encoding.document()
    fitted = encoding.Fitted(shipped["coefficients"], shipped["accelerators"])
    missed = calibration.errors(calibration.rows(), fitted)
    assert median(abs(np.expm1(missed))) < 0.1
    low, high = shipped["intervals"]["pair"]
    assert fmean(low <= -error <= high for error in missed) >= 0.86


def test_the_interval_of_a_machine_that_was_not_measured_is_the_wider_one() -> None:
    (near_low, near_high), (far_low, far_high) = (
        encoding.document()["intervals"][level] for level in ("pair", "engine")
    )
    assert far_low < near_low < 0 < near_high < far_high


@pytest.mark.soak
def test_a_model_and_a_machine_that_the_fit_has_not_seen() -> None:
    found = calibration.backtest()
    models = [row for row in found if row.source.endswith("model left out")]
    machines = [row for row in found if row.source.endswith("accelerator left out")]
    assert len(models) == len(machines) == 320
    assert median(abs(row.error) for row in models) <= 0.15
    assert 0.86 <= fmean(row.inside for row in models) <= 0.94
    assert median(abs(row.error) for row in machines) <= 0.25
    assert fmean(row.inside for row in machines) >= 0.78
    fresh = json.loads(json.dumps(calibration.calibration()))
    assert fresh == encoding.document()
