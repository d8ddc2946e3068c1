"""Encoders, encoder-decoders, vision, audio and multimodal types on counted random configurations.

And what they refuse: parts that no family describes, and classes that they do not build.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.core import compute, parameters
from service.core.architecture.families import registry
from service.core.architecture.families.config import ConfigError, UnknownArchitecture

TRUTH = Path(__file__).parents[2] / "data" / "truth"
ROWS = [json.loads(line) for line in (TRUTH / "perturbed_other.jsonl").read_text().splitlines()]
TYPES = sorted({row["config"]["model_type"] for row in ROWS})


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TRUTH / "configs" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("model_type", TYPES)
def test_counts_stay_exact_where_sizes_are_drawn_at_random(model_type: str) -> None:
    rows = [row for row in ROWS if row["config"]["model_type"] == model_type]
    assert len(rows) >= 3
    for row in rows:
        counts = parameters.count(registry.build(row["config"]))
        assert counts.total == row["total"], row["config"]
        assert counts.untied == row["untied"], row["config"]
        assert row["embedding"] is None or counts.embedding == row["embedding"], row["config"]


def test_more_than_a_hundred_types_beside_the_decoders_are_counted() -> None:
    assert len(TYPES) > 100


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("llava-1.5-7b", {"vision_config": {"model_type": "eva"}}, "vision_config.model_type"),
        ("llava-1.5-7b", {"text_config": {"model_type": "qqq"}}, "text_config.model_type"),
        ("llava-1.5-7b", {"vision_config": {"hidden_size": "12"}}, "vision_config.hidden_size"),
        ("gemma-4-26B-A4B", {"audio_config": {"hidden_size": 8}}, "audio_config"),
        ("wav2vec2-base-960h", {"adapter_attn_dim": 16}, "adapter_attn_dim"),
        ("wav2vec2-base-960h", {"feat_extract_norm": "none"}, "feat_extract_norm"),
        ("swin-base-patch4-window7-224", {"hidden_size": 77}, "hidden_size"),
        ("dpt-large", {"is_hybrid": True}, "is_hybrid"),
        ("bert-base-uncased", {"is_decoder": True}, "is_decoder"),
        ("bert-base-uncased", {"architectures": ["BertForEverything"]}, "architectures"),
        ("modernbert-base", {"layer_types": ["full_attention"]}, "layer_types"),
    ],
)
def test_what_is_not_described_is_refused_by_its_field(
    name: str, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.build(config(name) | change)
    assert refused.value.field == field


def test_decoder_without_a_family_is_unknown_not_guessed() -> None:
    with pytest.raises(UnknownArchitecture):
        registry.build(config("llava-1.5-7b") | {"text_config": {"model_type": "mystery"}})


def test_flat_file_of_qwen2_vl_counts_as_the_nested_one() -> None:
    nested = config("qwen2.5-vl-7b")
    text = nested.pop("text_config")
    flat = nested | {key: value for key, value in text.items() if key != "model_type"}
    counts = parameters.count(registry.build(flat))
    assert counts.total == parameters.count(registry.build(config("qwen2.5-vl-7b"))).total


def test_tower_works_on_the_image_whatever_the_length_of_the_text() -> None:
    table = compute.table(registry.build(config("llava-1.5-7b")))
    text = compute.table(registry.build(config("llava-1.5-7b")["text_config"]))
    vision = table.forward(0)
    assert vision == pytest.approx(table.forward(2048) - text.forward(2048), rel=1e-3)
    assert vision > 2 * 300e6 * 577


def test_local_attention_costs_less_than_full_and_the_same_on_short_texts() -> None:
    local = compute.table(registry.build(config("modernbert-base")))
    full = compute.table(
        registry.build(config("modernbert-base") | {"layer_types": ["full_attention"] * 22})
    )
    assert local.products(8192) == full.products(8192)
    assert local.attention.at(8192) < 0.4 * full.attention.at(8192)
    assert local.attention.at(32) == full.attention.at(32)


def test_whisper_listens_to_thirty_seconds_however_short_its_answer() -> None:
    table = compute.table(registry.build(config("whisper-small")))
    one, many = table.forward(1), table.forward(448)
    assert one > 0.6 * many
