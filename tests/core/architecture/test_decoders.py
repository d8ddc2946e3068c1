"""What decoders keep while they generate, and how their parts are named and arranged."""

import json
from pathlib import Path

import pytest

from service.core import parameters
from service.core.architecture.families import registry
from service.core.architecture.operators import Attention, Embedding, Linear, Scan

TRUTH = Path(__file__).parents[2] / "data" / "truth"


def config(name):
    return json.loads((TRUTH / "configs" / f"{name}.json").read_text())


def of(name, kind, **changes):
    network = registry.build(config(name) | changes)
    return [leaf for leaf in network.leaves() if isinstance(leaf.operator, kind)]


def cached(name, **changes):
    """Cache elements a token over all layers."""
    return sum(
        leaf.operator.cache_elements() * leaf.uses for leaf in of(name, Attention, **changes)
    )


def test_the_cache_holds_keys_and_values_of_the_key_value_heads():
    assert cached("llama3_1_8b") == 32 * 2 * 8 * 128
    assert cached("santacoder") == 24 * 2 * 1 * 128
    assert cached("gpt2") == 12 * 2 * 12 * 64


def test_latent_attention_caches_its_latent_and_the_rotary_key():
    assert cached("DeepSeek-V3") == 61 * (512 + 64)
    assert cached("minicpm3-default") == 62 * (256 + 32)


def test_layers_that_reuse_keys_and_values_cache_nothing():
    assert cached("gemma3n-text-default") == 20 * 2 * 2 * 256


def test_windows_stand_on_the_layers_that_slide():
    windows = [leaf.operator.window for leaf in of("gemma3_1b_it", Attention)]
    network = registry.build(config("gemma3_1b_it"))
    assert set(windows) == {512, None}
    full = [group.count for group in network.layer_groups()][1::2]
    assert sum(full) == 4
    assert {leaf.operator.window for leaf in of("qwen2_7b", Attention)} == {None}
    sliding = of("qwen2_7b", Attention, use_sliding_window=True, max_window_layers=20)
    assert [(leaf.operator.window, leaf.uses) for leaf in sliding] == [(None, 20), (131072, 8)]


@pytest.mark.parametrize(
    ("name", "changes", "state_bytes"),
    [
        ("jamba-v0.1", {"num_hidden_layers": 8}, 5_177_344 - 1_048_576),
        (
            "qwen3-next-default",
            {
                "num_hidden_layers": 4,
                "layer_types": ["linear_attention"] * 3 + ["full_attention"],
            },
            8_585_216 - 2_097_152,
        ),
    ],
)
def test_recurrent_states_have_the_size_that_was_measured(name, changes, state_bytes):
    """Measured after a prefill: the cache's storage less its keys and values (transformers)."""
    scans = of(name, Scan, **changes)
    held = sum(
        (4 * leaf.operator.state_elements + 2 * leaf.operator.conv_state) * leaf.uses
        for leaf in scans
    )
    assert held == state_bytes


def test_a_shared_block_is_held_once_and_used_again():
    counts = parameters.count(registry.build(config("zamba2-default")))
    once = parameters.count(registry.build(config("zamba2-default") | {"num_mem_blocks": 9}))
    assert counts.total < once.total
    assert counts.untied > counts.total


def test_projections_have_the_names_that_adapters_target():
    names = {leaf.operator.name for leaf in of("llama3_1_8b", Linear)}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} <= names
    assert {"c_attn", "c_proj", "c_fc"} <= {leaf.operator.name for leaf in of("gpt2", Linear)}
    phi = {leaf.operator.name for leaf in of("phi-4-14b", Linear)}
    assert {"qkv_proj", "gate_up_proj"} <= phi


def test_a_network_has_at_most_one_input_embedding_and_one_head():
    for path in sorted((TRUTH / "configs").glob("*.json")):
        given = json.loads(path.read_text())
        if given["model_type"] not in registry.builders():
            continue
        leaves = registry.build(given).leaves()
        inputs = [leaf for leaf in leaves if getattr(leaf.operator, "input", False)]
        heads = [leaf for leaf in leaves if getattr(leaf.operator, "head", False)]
        assert all(isinstance(leaf.operator, Embedding) for leaf in inputs), path.name
        assert len(inputs) <= 1, path.name
        assert len(heads) <= 1, path.name


def test_the_stored_format_is_the_one_that_the_config_names():
    assert registry.build(config("llama3_1_8b")).stored == "bf16"
    assert registry.build(config("llama3_1_8b") | {"torch_dtype": "float16"}).stored == "fp16"
    assert registry.build(config("gpt2") | {"dtype": "float32"}).stored == "fp32"


CHATGLM3 = {
    "model_type": "chatglm",
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "ffn_hidden_size": 13696,
    "hidden_size": 4096,
    "kv_channels": 128,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 28,
    "padded_vocab_size": 65024,
}
DEEPSEEK_MOE = {
    "model_type": "deepseek",
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 28,
    "vocab_size": 102400,
}


@pytest.mark.parametrize(
    ("given", "published"), [(CHATGLM3, 6_243_584_000), (DEEPSEEK_MOE, 16_375_728_128)]
)
def test_types_without_a_class_of_their_own_have_the_size_of_their_published_weights(
    given, published
):
    """Published: the checkpoints' total sizes (chatglm3-6b, deepseek-moe-16b), 2 bytes each."""
    assert parameters.count(registry.build(given)).total == published
