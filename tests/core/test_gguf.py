from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.core.architecture.families import registry
from service.core.architecture.network import Network
from service.core.weight_formats import UnknownFormat, weight_bytes

CONFIGS = Path(__file__).parents[1] / "data" / "truth" / "configs"

LLAMA_3_1_8B = {
    "IQ1_S": 2.0042,
    "IQ1_M": 2.1460,
    "IQ2_XXS": 2.3824,
    "IQ2_XS": 2.5882,
    "IQ2_S": 2.7403,
    "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548,
    "IQ3_XS": 3.4977,
    "IQ3_S": 3.6606,
    "IQ3_M": 3.7628,
    "IQ4_XS": 4.4597,
    "IQ4_NL": 4.6818,
    "Q2_K_S": 2.9697,
    "Q2_K": 3.1593,
    "Q3_K_S": 3.6429,
    "Q3_K_M": 3.9960,
    "Q3_K_L": 4.2979,
    "Q4_K_S": 4.6672,
    "Q4_K_M": 4.8944,
    "Q5_K_S": 5.5704,
    "Q5_K_M": 5.7036,
    "Q6_K": 6.5633,
    "Q8_0": 8.5008,
    "F16": 16.0005,
}
"""Bits a weight of Llama-3.1-8B, as llama.cpp's quantiser prints them (tools/quantize/README)."""


def network(name: str) -> Network:
    return registry.build(json.loads((CONFIGS / f"{name}.json").read_text()))


@pytest.mark.parametrize("file_type", LLAMA_3_1_8B)
def test_each_recipe_gives_the_published_bits_a_weight(file_type: str) -> None:
    found = weight_bytes(network("llama3_1_8b"), f"gguf:{file_type}").bits_per_parameter
    assert found == pytest.approx(LLAMA_3_1_8B[file_type], abs=6e-5)


def test_a_published_file_is_its_tensors_and_the_vocabulary() -> None:
    tensors = weight_bytes(network("llama3_1_8b"), "gguf:Q4_K_M").total
    metadata = 61 * 128_256
    assert tensors + metadata == pytest.approx(4_920_739_232, rel=1e-4)
    assert tensors == pytest.approx(4_920_739_232, rel=2e-3)


def test_an_importance_matrix_changes_the_recipes_that_look_at_it() -> None:
    llama = network("llama3_1_8b")

    def size(name: str) -> float:
        return weight_bytes(llama, f"gguf:{name}").total

    down, eighth = 14_336 * 4_096, 4
    assert size("IQ4_XS") - size("IQ4_XS-imatrix") == eighth * down * (5.5 - 4.25) / 8
    assert size("Q4_0-imatrix") - size("Q4_0") == eighth * down * 0.5 / 8
    assert size("Q4_K_M-imatrix") == size("Q4_K_M")


def test_rows_that_a_block_does_not_divide_take_a_wider_type() -> None:
    """896 columns (Qwen2-0.5B) hold no whole block of 256: Q4_K falls back to Q5_0."""
    small = weight_bytes(network("qwen2_0_5b"), "gguf:Q4_K_M")
    large = weight_bytes(network("llama3_1_8b"), "gguf:Q4_K_M")
    assert small.bits_per_parameter > large.bits_per_parameter + 0.8


def test_a_tied_table_is_stored_once_as_the_output_would_be() -> None:
    """Llama-3.2-1B ties its head: 128,256 x 2,048 weights in Q6_K, and no second copy."""
    table = 128_256 * 2_048 * 6.5625 / 8
    found = weight_bytes(network("llama3_2_1b"), "gguf:Q4_K_M").total
    layers = 1_235_814_400 - 128_256 * 2_048
    assert table + layers * 4.5 / 8 < found < table + layers * 5.2 / 8


def test_routers_and_norms_stay_in_32_bits_and_experts_are_quantised() -> None:
    mixtral = weight_bytes(network("Mixtral-8x7B-v0.1"), "gguf:Q4_K_M")
    assert 4.4 < mixtral.bits_per_parameter < 5.0
    assert 0.93 < mixtral.expert / mixtral.total < 0.99


@pytest.mark.parametrize(
    "name", ["gguf:Q9_K", "gguf:", "gguf:q4_k_m", "gguf:Q4_K_M-imatrix-imatrix"]
)
def test_a_file_type_without_a_recipe_is_refused(name: str) -> None:
    with pytest.raises(UnknownFormat):
        weight_bytes(network("llama3_1_8b"), name)
