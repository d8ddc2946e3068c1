"""Each row of scaling_law_cases.json, to the precision that the row states."""

import json
import re
from pathlib import Path

import pytest

from service.core.scaling_laws import Budget, find_law, flops_of, optimum, size_overhead
from service.core.scaling_laws.hyperparameters import (
    batch_tokens,
    learning_rate,
    optimal_model_scale,
)
from service.core.scaling_laws.mixtures import CLARK, abnar_loss, clark_loss
from service.core.scaling_laws.repeated import effective_tokens, repeated_loss
from tests.core.scaling_laws.sardana import lifetime_of_model

CASES = json.loads((Path(__file__).parent / "data" / "scaling_law_cases.json").read_text())
TABLE_SIZES = {2e11: 1.75e11, 5e11: 5.2e11, 7e10: 6.7e10, 3e11: 2.8e11}
"""The cases print one digit of N; the table's rows are these."""


def numbers(text: str) -> dict[str, float]:
    """`name=1.5e3` and `name 1.5e3` pairs."""
    pairs = re.findall(r"([A-Za-z_/]+)\s*[= ]\s*([0-9][0-9.]*(?:e[+-]?[0-9]+)?)", text)
    return {name: float(value) for name, value in pairs}


def check_approach_1(given, expected, text):
    size = TABLE_SIZES.get(given["N"], given["N"])
    flops = flops_of(Budget("parameters", size), "hoffmann_a1")
    assert flops == pytest.approx(expected["C"], rel=1e-9)
    assert optimum(flops, "hoffmann_a1").tokens.value == pytest.approx(expected["D"], rel=0.02)


def check_approaches_2_and_3(given, expected, text):
    size = TABLE_SIZES.get(given["N"], given["N"])
    second, third = (numbers(part) for part in text.split(";"))
    flops = flops_of(Budget("parameters", size), "hoffmann_a2")
    assert flops == pytest.approx(second["C"], rel=1e-9)
    assert optimum(flops, "hoffmann_a2").tokens.value == pytest.approx(second["D"], rel=0.02)
    assert flops_of(Budget("parameters", size), "hoffmann_a3") == pytest.approx(third["C"], rel=0.2)


def check_default(given, expected, text):
    best = optimum(given["C"], "epoch (default)")
    assert best.parameters.value == pytest.approx(expected["N"], rel=1e-4)
    assert best.tokens.value == pytest.approx(expected["D"], rel=1e-4)
    assert best.tokens_per_parameter == pytest.approx(expected["D/N"], rel=1e-4)
    assert best.loss.value == pytest.approx(expected["L"], abs=1e-5)


def check_rounded(given, expected, text):
    best = optimum(given["C"], "hoffmann_a3 rounded")
    assert best.parameters.value == pytest.approx(expected["N"], rel=1e-4)
    assert best.tokens.value == pytest.approx(expected["D"], rel=1e-4)
    assert "rounded_constants" in best.warnings


def check_loss(given, expected, text):
    for law in ("epoch", "hoff_rounded", "hoff_tex"):
        loss = find_law(law).form.loss(given["N"], given["D"])
        assert loss == pytest.approx(expected[law], abs=1e-5)


def check_lifetime(given, expected, text):
    best = lifetime_of_model(given["N"], given["D_inf"], "sardana")
    assert best.parameters == pytest.approx(expected["N"], rel=1e-3)
    assert best.tokens == pytest.approx(expected["D"], rel=1e-3)
    assert best.token_factor == pytest.approx(expected["D/D_chin"], rel=1e-3)
    assert best.saving == pytest.approx(expected["saving"], rel=1e-3)
    assert best.loss == pytest.approx(expected["loss"], abs=1e-6)


def check_epochs(given, expected, text):
    epochs = float(re.search(r"([0-9]+) epochs", given["text"]).group(1))
    assert effective_tokens(epochs, 1.0) == pytest.approx(expected["D_eff"], abs=1e-5)


def check_repeated_loss(given, expected, text):
    loss = repeated_loss(given["N"], given["D"], given["U"])
    assert loss == pytest.approx(expected["L"], abs=1e-5)


def check_deepseek(given, expected, text):
    best = optimum(given["C"], "deepseek")
    assert optimal_model_scale(given["C"]) == pytest.approx(expected["M"], rel=1e-4)
    assert best.parameters.value == pytest.approx(expected["M"] / 6.0, rel=1e-4)
    assert best.tokens.value == pytest.approx(expected["D"], rel=1e-4)
    assert batch_tokens(given["C"]) == pytest.approx(expected["B"], rel=1e-4)
    assert learning_rate(given["C"]) == pytest.approx(expected["lr"], rel=1e-4)


def check_llama(given, expected, text):
    printed, figure = (float(d) for d in re.findall(r"D=([0-9.e+]+)", text))
    assert optimum(given["C"], "llama-3-2024-printed").tokens.value == pytest.approx(
        printed, rel=1e-4
    )
    assert optimum(given["C"], "llama3").tokens.value == pytest.approx(figure, rel=1e-4)
    assert figure == pytest.approx(16.55e12, rel=0.02)


def check_clark(given, expected, text):
    assert CLARK["s-base"].effective_experts(given["E"]) == pytest.approx(
        expected["E_hat"], rel=1e-5
    )
    assert clark_loss(given["N"], given["E"]) == pytest.approx(expected["L"], abs=1e-4)


def check_abnar(given, expected, text):
    assert abnar_loss(given["N"], given["D"], given["S"]) == pytest.approx(expected["L"], abs=1e-4)


def check_overhead(given, expected, text):
    factor = float(re.search(r"N = ([0-9.]+) x", given["text"]).group(1))
    rows = re.findall(r"([0-9.]+)(?:, extra compute|,) ([0-9.]+)%", text)
    for law, (tokens, extra) in zip(("epoch", "hoff_rounded"), rows, strict=True):
        token_factor, overhead = size_overhead(factor, law)
        assert token_factor == pytest.approx(float(tokens), rel=1e-3)
        assert 100.0 * overhead == pytest.approx(float(extra), rel=1e-3)


CHECKS = {
    "hoffmann_a1": check_approach_1,
    "hoffmann_a2 / a3": check_approaches_2_and_3,
    "epoch (default)": check_default,
    "hoffmann_a3 rounded": check_rounded,
    "loss": check_loss,
    "inference-aware": check_lifetime,
    "data-constrained": check_epochs,
    "data-constrained loss": check_repeated_loss,
    "deepseek": check_deepseek,
    "llama3": check_llama,
    "clark S-BASE": check_clark,
    "abnar": check_abnar,
    "off-optimum overhead": check_overhead,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['law']}: {case['input']}")
def test_published_case(case):
    given = {**numbers(case["input"]), "text": case["input"]}
    CHECKS[case["law"]](given, numbers(case["expected"]), case["expected"])
