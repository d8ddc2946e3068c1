"""Networks from a handful of sizes."""

from __future__ import annotations

from service.core import parameters
from service.core.architecture.families import registry, shapes


def test_a_llama_shape_is_the_llama_network() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    }
    shape = shapes.llama(32, 4096, 32, key_value_heads=8, intermediate=14336)
    expected = parameters.count(registry.build(config))
    assert parameters.count(shape).total == expected.total == 8_030_261_248


def test_a_gpt_shape_is_the_gpt2_network() -> None:
    shape = shapes.gpt(48, 1600, 25, vocabulary=50257, positions=1024)
    expected = parameters.count(
        registry.build({"model_type": "gpt2", "n_layer": 48, "n_embd": 1600, "n_head": 25})
    )
    assert parameters.count(shape).total == expected.total == 1_557_611_200
