"""Stored bytes of quantised checkpoints: sums by hand, and plain refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.core import parameters
from service.core.architecture.families import registry
from service.core.architecture.families.config import ConfigError
from service.core.stored_weights import bytes_by_format
from service.core.weight_formats import UnknownFormat, weight_bytes

CONFIGS = Path(__file__).parents[1] / "data" / "truth" / "configs"
TINY = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
ATTENTION = 4 * 256 * 256 * 2
MLP = 3 * 256 * 512 * 2
WIDE = 2 * (2 * 1000 * 256 + 5 * 256)
"""Bytes of embedding, head and norms at 16 bits."""


def network(name: str) -> Any:
    return registry.build(json.loads((CONFIGS / f"{name}.json").read_text()))


def quantised(**section: Any) -> Any:
    return registry.build(TINY | {"quantization_config": section})


@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b"])
def test_mxfp4_experts_take_17_bytes_for_32_weights_and_the_rest_16_bits(name: str) -> None:
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    experts = config["num_hidden_layers"] * config["num_local_experts"]
    matrices = experts * 3 * hidden * inner
    rest = parameters.count(network(name)).total - matrices
    assert bytes_by_format(network(name)) == {"mxfp4": matrices * 17 / 32, "bf16": rest * 2}
    assert weight_bytes(network(name), "mxfp4").total == matrices * 17 / 32 + rest * 2


def test_block_fp8_takes_a_byte_a_weight_and_a_scale_a_block() -> None:
    stored = bytes_by_format(quantised(quant_method="fp8", weight_block_size=[128, 128]))
    matrices = ATTENTION + MLP
    assert stored == {"fp8-block": matrices + 4 * matrices / 128**2, "bf16": WIDE}


def test_gptq_takes_scales_zeros_and_an_index_for_each_input() -> None:
    stored = bytes_by_format(quantised(quant_method="gptq", bits=4, group_size=128))
    matrices = ATTENTION + MLP
    inputs = 2 * (6 * 256 + 512)
    assert stored["gptq-int4-g128"] == matrices * (4 + 20 / 128) / 8 + 4 * inputs


def test_bitsandbytes_counts_what_files_of_any_age_say() -> None:
    old = bytes_by_format(quantised(load_in_8bit=True))
    new = bytes_by_format(quantised(quant_method="bitsandbytes", load_in_8bit=True))
    nf4 = bytes_by_format(
        quantised(
            quant_method="bitsandbytes",
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
        )
    )
    assert old == new
    assert nf4["nf4-double"] == pytest.approx((ATTENTION + MLP) * 4.127 / 8, rel=1e-4)


def test_parameters_stay_logical_and_parts_stay_wide() -> None:
    plain = registry.build(TINY)
    kept = quantised(
        quant_method="awq",
        bits=4,
        group_size=128,
        modules_to_not_convert=["lm_head", "model.layers.0.self_attn"],
    )
    assert parameters.count(kept).total == parameters.count(plain).total
    mlp = MLP * (4 + 20 / 128) / 8
    assert bytes_by_format(kept) == {"awq-int4-g128": mlp, "bf16": WIDE + 2 * ATTENTION}
    assert bytes_by_format(plain) == {"bf16": 2 * parameters.count(plain).total}


@pytest.mark.parametrize(
    "section",
    [
        {"quant_method": "hqq"},
        {"quant_method": "fp8", "weight_block_size": [64, 64]},
        {"quant_method": "gptq", "bits": 5, "group_size": 128},
        {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["abc"]},
    ],
)
def test_what_is_not_understood_has_no_bytes(section: dict[str, Any]) -> None:
    with pytest.raises(UnknownFormat, match="quantization_config"):
        bytes_by_format(quantised(**section))


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ([1], "quantization_config"),
        ({"quant_method": 4}, "quantization_config.quant_method"),
        ({"quant_method": "gptq", "bits": "4"}, "quantization_config.bits"),
        ({"quant_method": "fp8", "weight_block_size": 3}, "quantization_config.weight_block_size"),
        ({"modules_to_not_convert": "all"}, "quantization_config.modules_to_not_convert"),
    ],
)
def test_malformed_section_is_refused_by_its_field(section: Any, field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.build(TINY | {"quantization_config": section})
    assert refused.value.field == field
