"""Peak memory against traced and measured runs, and the calibration that stands on them."""

import json
from importlib.resources import files

import numpy as np
import pytest

from service.calibration import memory as calibrated
from service.calibration import memory_rows
from service.core.memory.calibration import coefficients, using

TRACED = [job for job in memory_rows.traced() if job.source == "traced"]
OWN = [job for job in memory_rows.traced() if job.source == "traced-own"]
MEASURED = [job for job in memory_rows.jobs() if job.measure != "allocated"]


def errors(jobs):
    return np.array([abs(calibrated.predicted(job) / job.observed_bytes - 1) for job in jobs])


@pytest.mark.parametrize("job", TRACED, ids=lambda job: job.case)
def test_a_traced_step_of_the_real_implementation(job):
    assert calibrated.predicted(job) == pytest.approx(job.observed_bytes, rel=0.03)


def test_the_traced_rows_are_all_told():
    assert len(TRACED) == 41


def test_traced_steps_of_families_and_settings_beyond_the_given_ones():
    found = errors(OWN)
    assert len({job.family for job in OWN}) >= 30
    assert np.median(found) <= 0.01
    assert np.quantile(found, 0.9) <= 0.08


def test_megatron_on_b200():
    found = errors([job for job in memory_rows.jobs() if job.source == "simumax-b200"])
    assert len(found) == 19
    assert np.median(found) <= 0.015
    assert found.max() <= 0.05


@pytest.mark.parametrize(
    ("evidence", "limit"), [("modules", 0.08), ("quantised", 0.15)], ids=["lora and full", "qlora"]
)
def test_fine_tuning_runs(evidence, limit):
    rows = [job for job in memory_rows.jobs() if job.evidence == evidence]
    assert len(rows) >= 10
    assert np.median(errors(rows)) <= limit


def test_readings_of_whole_devices():
    assert np.median(errors(MEASURED)) <= 0.08


def test_folds_are_stable_and_set_each_group_aside_once():
    jobs = memory_rows.jobs()
    folds = [calibrated.fold_of(job) for job in jobs]
    assert folds == [calibrated.fold_of(job) for job in jobs]
    assert set(folds) == set(range(calibrated.FOLDS))
    assert len({(job.source, job.group, fold) for job, fold in zip(jobs, folds, strict=True)}) == (
        len({(job.source, job.group) for job in jobs})
    )


def test_the_calibration_file_says_what_each_term_was_fitted_on():
    path = files("service.core").joinpath("calibration_data/memory.json")
    document = json.loads(path.read_text("utf-8"))
    for name, term in document["coefficients"].items():
        assert term["value"] >= 0, name
        assert term["unit"]
        assert term["fitted_on"]
    for bounds in document["intervals"].values():
        assert bounds["low"] <= 0 <= bounds["high"]
        assert bounds["rows"] > 0


def test_other_coefficients_hold_only_while_they_are_used():
    job = next(job for job in MEASURED if job.measure == "device")
    before = calibrated.predicted(job)
    with using({"context_bytes": coefficients()["context_bytes"] + 1e9}):
        assert calibrated.predicted(job) == pytest.approx(before + 1e9)
    assert calibrated.predicted(job) == before
