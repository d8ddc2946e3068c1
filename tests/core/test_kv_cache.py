from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.core import kv_cache
from service.core.architecture.families import registry
from service.core.architecture.network import Network
from service.core.stacking import stack

CONFIGS = Path(__file__).parents[1] / "data" / "truth" / "configs"
GIB = 2**30

GEMMA_3_27B = {
    "model_type": "gemma3_text",
    "vocab_size": 262_208,
    "hidden_size": 5_376,
    "intermediate_size": 21_504,
    "num_hidden_layers": 62,
    "num_attention_heads": 32,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "sliding_window": 1_024,
    "sliding_window_pattern": 6,
}


def network(name: str, **changes: Any) -> Network:
    return registry.build(json.loads((CONFIGS / f"{name}.json").read_text()) | changes)


def per_token(name: str, tensor: float = 1.0, cache: str = "bf16") -> float:
    return float(kv_cache.table(network(name), cache).per_token(tensor))


def test_keys_and_values_of_the_key_value_heads_are_kept_and_not_of_all_heads() -> None:
    assert per_token("llama3_1_8b") == 2 * 32 * 8 * 128 * 2 == 131_072


def test_head_size_need_not_be_hidden_over_heads() -> None:
    """Qwen3-0.6B: 16 heads of 128 over a width of 1,024; gemma-7b: 16 of 256 over 3,072."""
    assert per_token("qwen3_0.6b") == 2 * 28 * 8 * 128 * 2
    assert per_token("gemma-7b") == 2 * 28 * 16 * 256 * 2


def test_the_cache_is_replicated_where_ranks_outnumber_key_value_heads() -> None:
    assert per_token("Qwen3-235B-A22B", 4.0) == 48_128
    assert per_token("Qwen3-235B-A22B", 8.0) == 48_128
    assert per_token("llama3_1_8b", 16.0) == 131_072 / 8


def test_ranks_that_do_not_divide_the_heads_hold_the_next_whole_number() -> None:
    assert per_token("llama3_1_8b", 3.0) == 131_072 * 3 / 8


def test_a_latent_cache_is_576_elements_a_layer_and_not_divided() -> None:
    assert per_token("DeepSeek-V3") == 61 * (512 + 64) * 2 == 70_272
    assert per_token("DeepSeek-V3", 8.0) == 70_272
    assert per_token("DeepSeek-V3") * 163_840 / GIB == pytest.approx(10.72, abs=0.005)


def test_the_mixed_format_of_a_latent_cache_is_656_bytes_a_layer() -> None:
    assert per_token("DeepSeek-V3", cache="fp8-ds-mla") == 61 * 656


@pytest.mark.parametrize(
    ("cache", "size"),
    [
        ("fp32", 4.0),
        ("fp16", 2.0),
        ("fp8", 1.0),
        ("int8", 1.0 + 4 / 128),
        ("fp8-per-head", 1.0 + 4 / 128),
        ("nvfp4", 0.5 + 1 / 16),
        ("q8_0", 1.0625),
        ("q4_0", 0.5625),
    ],
)
def test_bytes_an_element_of_a_quantised_cache(cache: str, size: float) -> None:
    assert per_token("llama3_1_8b", cache=cache) == 2 * 32 * 8 * 128 * size


@pytest.mark.parametrize(
    ("name", "tensor", "cache_gib", "tokens"),
    [
        ("llama3_1_8b", 1.0, 3.81, 31_232),
        ("llama3_1_8b", 1.0, 2.89, 23_648),
        ("Qwen3-235B-A22B", 4.0, 8.11, 178_880),
        ("Qwen3-235B-A22B", 4.0, 16.46, 367_404),
    ],
)
def test_tokens_that_engines_log_for_a_cache_of_a_logged_size(
    name: str, tensor: float, cache_gib: float, tokens: int
) -> None:
    """vLLM issues 10517 and 21348; the last row is SGLang's."""
    assert cache_gib * GIB / per_token(name, tensor) == pytest.approx(tokens, rel=0.015)


def test_an_engine_that_ignores_windows_reserves_each_layer_at_full_length() -> None:
    """hf-mem issue 60: gpt-oss-120b, 5.38 GiB hold 78,384 tokens of 36 layers."""
    table = kv_cache.table(network("gpt-oss-120b"))
    assert 5.38 * GIB / (table.reserved(78_384.0) / 78_384.0) == pytest.approx(78_384, rel=0.015)


def test_a_sliding_window_is_kept_and_no_more() -> None:
    table = kv_cache.table(registry.build(GEMMA_3_27B))
    found = table.sequence(131_072.0)
    assert found == 2 * 16 * 128 * 2 * (10 * 131_072 + 52 * 1_024)
    assert found / GIB == pytest.approx(10.41, abs=0.005)
    assert table.reserved(131_072.0) == 2 * 16 * 128 * 2 * 62 * 131_072


def test_two_numbers_for_a_windowed_model() -> None:
    """gpt-oss-20b, 32 sequences of 8,192: the window needs half of what is reserved.

    hf-mem pull request 70 measures 6.09 GiB and 12.00 GiB.
    """
    table = kv_cache.table(network("gpt-oss-20b"))
    assert 32 * table.sequence(8_192.0) / GIB == pytest.approx(6.09, abs=0.01)
    assert 32 * table.reserved(8_192.0) / GIB == pytest.approx(12.0, abs=0.01)
    kept = table.reserved(8_192.0, slack=2_048.0)
    assert table.sequence(8_192.0) < kept < table.reserved(8_192.0)


def test_only_attention_layers_of_a_hybrid_keep_tokens() -> None:
    """Measured with transformers' cache: jamba cut to eight layers, one of them attention."""
    table = kv_cache.table(network("jamba-v0.1", num_hidden_layers=8))
    assert table.per_token() * 256 == 1_048_576
    assert table.sequence(256.0) == 5_177_344


def test_linear_attention_keeps_a_state_of_constant_size() -> None:
    """Measured with transformers' cache: qwen3-next cut to four layers, one of them attention."""
    kinds = ["linear_attention"] * 3 + ["full_attention"]
    table = kv_cache.table(network("qwen3-next-default", num_hidden_layers=4, layer_types=kinds))
    assert table.sequence(1_024.0) == 8_585_216
    assert table.sequence(2_048.0) - table.sequence(1_024.0) == 2_097_152


def test_cross_attention_is_kept_once_a_request() -> None:
    """Measured with transformers' cache: four sequences, 512 tokens in, one token out."""
    t5 = kv_cache.table(network("t5-base"))
    assert 4 * t5.sequence(1.0, input_tokens=512.0) == 75_644_928
    whisper = kv_cache.table(network("whisper-base"))
    assert whisper.cross == 2 * 6 * 512 * 1_500 * 2
    assert whisper.sequence(1.0, input_tokens=9_999.0) == whisper.cross + whisper.per_token()


def test_pipeline_stages_share_the_cache() -> None:
    llama = network("llama3_1_8b")
    stages = [kv_cache.table(llama, "bf16", 4, stage) for stage in range(4)]
    assert sum(stage.per_token() for stage in stages) == 131_072


def test_tables_of_unlike_models_evaluate_together_as_alone() -> None:
    tables = [
        kv_cache.table(network(name))
        for name in ("llama3_1_8b", "gpt-oss-20b", "DeepSeek-V3", "jamba-v0.1", "gemma3_1b_it")
    ]
    tokens, ways = np.array([100.0, 5_000.0, 7.0, 900.0, 2_000.0]), np.array([1.0, 2, 4, 16, 2])
    together = stack(tables).sequence(tokens, ways)
    alone = [t.sequence(n, w) for t, n, w in zip(tables, tokens, ways, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_a_cache_format_without_a_rule_is_refused() -> None:
    with pytest.raises(kv_cache.UnknownCacheFormat):
        kv_cache.table(network("llama3_1_8b"), "fp9")
