"""The speed of a run of which only the size is known, against the estimates it is made of."""

from __future__ import annotations

import itertools
import math

import httpx
import pytest

from service.api.resolve import sized, sized_serving
from service.calibration import reference
from service.core import parameters
from service.core.scaling_laws import training_flops
from service.core.spending import Site

H100 = reference.accelerator("h100-sxm")
SITE = Site(400.0, 1.2)
TOKENS = 1e12


def ladder(count: int | None) -> sized.Ladder:
    return sized.Ladder(H100, count, SITE)


def config(width: int) -> dict[str, object]:
    hidden = 128 * width
    return {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": hidden,
        "intermediate_size": (8 * hidden // 3 + 255) // 256 * 256,
        "num_hidden_layers": width,
        "num_attention_heads": width,
        "max_position_embeddings": 4_096,
    }


def test_the_ladder_holds_llama_7b_and_grows() -> None:
    known = sized.sizes()
    assert known[sized.WIDTHS.index(32)] == 6_738_415_616
    assert all(1.3 < b / a < 3.0 for a, b in itertools.pairwise(known))


@pytest.mark.parametrize(("width", "count"), [(16, None), (32, 64), (48, 512)])
def test_a_rung_takes_the_hours_and_the_carbon_that_an_estimate_states(
    client: httpx.Client, width: int, count: int | None
) -> None:
    speed = ladder(count)
    size = float(parameters.count(sized.network(width)).total)
    body = {
        "model": {"kind": "huggingface", "config": config(width)},
        "workload": {"kind": "pretraining", "tokens": TOKENS},
        "hardware": {"accelerator": "h100-sxm"} | ({} if count is None else {"count": count}),
        "site": {"grid_gco2e_per_kwh": SITE.grid, "pue": SITE.pue},
        "pricing": {"usd_per_device_hour": 2.0},
    }
    found = client.post("/estimate", json=body).json()
    hours = training_flops(size, TOKENS) / speed.flops_per_second(size) / 3600.0
    assert hours == pytest.approx(found["time"]["device_hours"]["value"], rel=1e-6)
    carbon = speed.kgco2e_per_hour(size) * hours
    assert carbon == pytest.approx(found["carbon"]["total_kgco2e"]["value"], rel=1e-6)
    used = found["time"]["model_flops_utilization"]["value"]
    assert speed.utilization(size) == pytest.approx(used)
    assert speed.devices(size * 0.99) == found["layout"]["devices"]


@pytest.mark.parametrize("width", [14, 28, 36, 56])
def test_between_rungs_the_line_keeps_near_the_network_of_that_size(width: int) -> None:
    size = float(parameters.count(sized.network(width)).total)
    found = sized.rung(width, H100, 64)
    assert found is not None
    actual = training_flops(size, 1e12) / (found.device_hours * 3600.0)
    assert ladder(64).flops_per_second(size) == pytest.approx(actual, rel=0.1)


@pytest.mark.parametrize("count", [97, 1000, 4096])
def test_any_number_of_devices_has_a_speed(count: int) -> None:
    """Where nothing divides the batch some stand idle, and are paid for."""
    for size in (1e9, 3e10):
        speed = ladder(count)
        assert 0.0 < speed.flops_per_second(size) < H100.peak_for("bf16")
        assert speed.devices(size) == count
        assert 0.0 < speed.utilization(size) < 1.0


def test_what_does_not_fit_has_no_speed_from_the_last_size_that_does() -> None:
    speed = ladder(8)
    fits = [size for size in sized.sizes() if speed.flops_per_second(size) > 0.0]
    last = max(fits)
    assert last > 5e9
    assert speed.flops_per_second(last) > 0.0
    assert speed.flops_per_second(last * 1.001) == 0.0
    assert fits == [size for size in sized.sizes() if size <= last]


def test_a_stated_utilisation_holds_for_every_size() -> None:
    flat = sized.Flat(H100, 0.4, None, SITE)
    assert flat.flops_per_second(1e9) == flat.flops_per_second(1e12) == 0.4 * H100.peak_for("bf16")
    assert flat.kgco2e_per_hour(1e9) > 0.1


def test_serving_takes_longer_the_larger_the_model() -> None:
    seconds = [sized_serving.serving_seconds(size, H100) for size in (1e9, 7e9, 7e10, 4e11)]
    assert seconds == sorted(seconds)
    assert seconds[1] < seconds[2] / 4.0


def test_a_quantity_between_rungs_lies_between_theirs() -> None:
    known = sized.sizes()
    values = dict(zip(sized.WIDTHS, range(1, len(known) + 1), strict=True))
    middle = math.sqrt(known[3] * known[4])
    assert sized.between(middle, values.__getitem__) == pytest.approx(math.sqrt(4.0 * 5.0))
    assert sized.between(1.0, values.__getitem__) == 1
    assert sized.between(1e17, values.__getitem__) == len(known)
