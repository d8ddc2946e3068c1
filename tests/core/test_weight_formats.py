from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.core.architecture.families import registry
from service.core.architecture.network import Network
from service.core.weight_formats import UnknownFormat, matrix_size, weight_bytes

CONFIGS = Path(__file__).parents[1] / "data" / "truth" / "configs"
LLAMA = "llama3_1_8b"
TABLES = 2 * 128_256 * 4_096
"""The embedding and the head of Llama-3.1-8B, which weight quantisation leaves alone."""
NORMS = 65 * 4_096
MATRICES = 8_030_261_248 - TABLES - NORMS


def network(name: str) -> Network:
    return registry.build(json.loads((CONFIGS / f"{name}.json").read_text()))


def total(name: str, weights: str) -> float:
    return weight_bytes(network(name), weights).total


def test_eight_billion_in_four_bits_are_six_gigabytes_and_not_four() -> None:
    assert total(LLAMA, "nf4") == (TABLES + NORMS) * 2 + MATRICES * 4.5 / 8
    assert total(LLAMA, "nf4") / 1e9 == pytest.approx(6.0, abs=0.05)
    assert total(LLAMA, "nf4-double") / 1e9 == pytest.approx(5.7, abs=0.05)


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ("fp32", 32.0),
        ("bf16", 16.0),
        ("nf4", 4.5),
        ("nf4-double", 4.127),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("awq-int4-g128", 4.156),
        ("gptq-int4-g128", 4.164),
        ("gptq-int8-g128", 8.195),
        ("int8", 8.004),
        ("fp8", 8.0),
        ("fp8-block", 8.002),
    ],
)
def test_bits_of_a_square_matrix_of_4096(weights: str, bits: float) -> None:
    assert matrix_size(weights)(4_096, 4_096) * 8 / 4_096**2 == pytest.approx(bits, abs=6e-4)


def test_double_quantisation_saves_0_373_bits_a_weight() -> None:
    """QLoRA (arXiv 2305.14314) says 0.37; measured on Llama-2-7B as 4.57 against 4.26 GB."""
    saved = total("llama3_1_8b", "nf4") - total("llama3_1_8b", "nf4-double")
    assert saved * 8 / MATRICES == pytest.approx(0.373, abs=1e-3)


def test_only_the_matrices_of_layers_are_quantised() -> None:
    for weights in ("fp8", "int8", "nf4", "awq-int4-g128", "nvfp4"):
        kept = (TABLES + NORMS) * 2
        assert total(LLAMA, weights) > kept
        assert total(LLAMA, weights) - kept < total(LLAMA, "bf16") * 0.52


def test_a_small_model_with_a_large_vocabulary_hardly_shrinks() -> None:
    """Qwen2-0.5B: 136 of 494 million weights are the (tied) table."""
    ratio = total("qwen2_0_5b", "nf4") / total("qwen2_0_5b", "bf16")
    assert ratio > 0.45
    assert total(LLAMA, "nf4") / total(LLAMA, "bf16") < 0.38


def test_a_logged_size_of_a_checkpoint_is_met() -> None:
    """vLLM logs 14.9888 GiB for Llama-3.1-8B in bf16 (issue 10517)."""
    assert total(LLAMA, "bf16") / 2**30 == pytest.approx(14.9888, rel=3e-3)


def test_an_int8_checkpoint_of_70b_is_met() -> None:
    """vLLM logs 67.7229 GiB for Llama-3.1-70B in w8a8 (pull request 12569)."""
    assert total("llama3_1_70b", "int8") / 2**30 == pytest.approx(67.7229, rel=0.01)


@pytest.mark.parametrize(
    "name", ["", "int4", "gptq-int5-g128", "awq-int4-g100", "fp8 ", "GGUF:F16"]
)
def test_a_format_without_a_rule_is_refused(name: str) -> None:
    with pytest.raises(UnknownFormat):
        weight_bytes(network(LLAMA), name)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Q4_K_M", "gguf:Q4_K_M"),
        ("gguf:q4_k_m", "gguf:Q4_K_M"),
        ("int4", "gptq-int4-g128"),
        ("FP8", "fp8"),
    ],
)
def test_a_format_that_was_nearly_named_is_offered(given: str, meant: str) -> None:
    with pytest.raises(UnknownFormat, match=f"did you mean .*{meant}"):
        weight_bytes(network(LLAMA), given)
