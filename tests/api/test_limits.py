"""The fewest devices and the longest sequence: what they say fits, and one step more does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.api.estimating import Context, estimate
from service.api.levers import merged
from service.api.limits import GRANULE, largest
from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse
from service.catalog.snapshot import Snapshot

TRAINING: dict[str, Any] = {
    "model": {"kind": "catalog", "name": "llama-3.1-8b"},
    "workload": {
        "kind": "pretraining",
        "tokens": 1e9,
        "sequence_length": 4096,
        "global_batch_size": 64,
        "micro_batch_size": 1,
        "recomputation": "full",
    },
    "hardware": {"accelerator": "h100-sxm", "count": 32},
    "layout": {"tensor": 2, "zero_stage": 3},
    "limits": True,
}
SERVING: dict[str, Any] = {
    "model": {"kind": "catalog", "name": "llama-3.1-70b"},
    "workload": {"kind": "inference", "prompt_tokens": 2048, "output_tokens": 256},
    "hardware": {"accelerator": "h100-sxm", "count": 8},
    "limits": True,
}


def answered(body: dict[str, Any], seeded: Snapshot) -> EstimateResponse:
    return estimate(EstimateRequest.model_validate(body), Context(seeded))


def verdict(body: dict[str, Any], seeded: Snapshot) -> Any:
    found = answered(body, seeded).verdict
    assert found is not None
    return found


def test_the_longest_sequence_of_training_fits_and_the_next_does_not(seeded: Snapshot) -> None:
    longest = verdict(TRAINING, seeded).longest_sequence
    assert longest > 4096
    for length, fits in ((longest, True), (longest + GRANULE, False)):
        body = merged(TRAINING, {"workload": {"sequence_length": length}})
        assert (verdict(body, seeded).admission == "fits") is fits


def test_the_fewest_devices_of_a_layout_fit_and_half_do_not(seeded: Snapshot) -> None:
    fewest = verdict(TRAINING, seeded).fewest_devices
    assert 2 < fewest <= 32
    for count, fits in ((fewest, True), (fewest // 2, False)):
        body = merged(TRAINING, {"hardware": {"count": count}})
        assert (verdict(body, seeded).admission == "fits") is fits


def test_the_fewest_devices_without_a_layout_are_those_of_the_search(seeded: Snapshot) -> None:
    counted = merged(TRAINING, {"layout": None})
    free = answered(merged(counted, {"hardware": {"count": None}}), seeded)
    assert free.layout is not None
    assert verdict(counted, seeded).fewest_devices == free.layout.devices


def test_the_longest_served_sequence_fits_and_the_next_does_not(seeded: Snapshot) -> None:
    longest = verdict(SERVING, seeded).longest_sequence
    for length, fits in ((longest, True), (longest + GRANULE, False)):
        body = merged(SERVING, {"workload": {"prompt_tokens": length - 256}})
        assert (verdict(body, seeded).admission == "fits") is fits


def test_the_fewest_serving_devices_are_those_that_are_chosen(seeded: Snapshot) -> None:
    fewest = verdict(SERVING, seeded).fewest_devices
    assert verdict(merged(SERVING, {"hardware": {"count": fewest}}), seeded).admission == "fits"
    half = merged(SERVING, {"hardware": {"count": fewest // 2}})
    assert verdict(half, seeded).admission != "fits"


def test_limits_are_said_unasked_only_where_a_job_is_not_sure_to_fit(seeded: Snapshot) -> None:
    quiet = merged(TRAINING, {"limits": None})
    assert verdict(quiet, seeded).longest_sequence is None
    small = merged(quiet, {"hardware": {"count": 2}})
    assert verdict(small, seeded).fewest_devices == verdict(TRAINING, seeded).fewest_devices
    assert verdict(merged(small, {"limits": False}), seeded).fewest_devices is None


def test_what_cannot_be_said_is_null_with_a_warning(seeded: Snapshot) -> None:
    body = merged(TRAINING, {"layout": {"zero_stage": 0, "tensor": 1}, "hardware": {"count": 1}})
    found = answered(body, seeded)
    assert found.verdict is not None
    assert found.verdict.fewest_devices is None
    assert found.verdict.longest_sequence is None
    assert {"no-fewest-devices", "no-longest-sequence"} <= {w.code for w in found.warnings}


@pytest.mark.parametrize("limit", [0, 1, 2, 63, 64, 65, 4097, 999_999, 1_000_000])
def test_the_largest_that_fits_is_found(limit: int) -> None:
    found = largest(lambda tried: np.asarray(tried <= limit), 1_000_000, 128)
    assert found == (limit * 128 or None)
