"""Counting from a header alone: exact parameters and bytes, and clear refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.core import parameters
from service.core.architecture import safetensors
from service.core.architecture.families.config import ConfigError

BERT = {
    "__metadata__": {"format": "pt"},
    "embeddings.word_embeddings.weight": {
        "dtype": "F32",
        "shape": [30522, 768],
        "data_offsets": [0, 93763584],
    },
    "encoder.layer.0.attention.self.query.weight": {"dtype": "F32", "shape": [768, 768]},
    "encoder.layer.1.attention.self.query.weight": {"dtype": "BF16", "shape": [768, 768]},
    "lm_head.weight": {"dtype": "F8_E4M3", "shape": [30522, 768]},
    "scale": {"dtype": "F32", "shape": []},
}


def test_a_header_tells_parameters_bytes_by_dtype_and_layers() -> None:
    network = safetensors.build(BERT)
    table, square = 30522 * 768, 768 * 768
    assert parameters.count(network).total == 2 * table + 2 * square + 1
    assert safetensors.bytes_by_dtype(network) == {
        "F32": 4 * (table + square + 1),
        "BF16": 2 * square,
        "F8_E4M3": table,
    }
    assert network.layers == 2


def test_equal_tensors_count_each() -> None:
    entry = {"dtype": "F4", "shape": [3, 3]}
    header = {f"layers.{i % 5}.experts.{i}.up": entry for i in range(100)} | {"a": entry}
    network = safetensors.build(header)
    assert parameters.count(network).total == 101 * 9
    assert safetensors.bytes_by_dtype(network) == {"F4": 101 * 5}  # nine half bytes, rounded up
    assert network.layers == 5


def test_shards_are_read_as_one_model() -> None:
    names = [name for name in BERT if name != "__metadata__"]
    shards = [{name: BERT[name]} for name in names]
    assert safetensors.build(shards) == safetensors.build(BERT)


@pytest.mark.parametrize("shards", [1, 7])
def test_more_tensors_than_are_counted_at_once_are_refused(shards: int) -> None:
    entry = {"dtype": "F32", "shape": [1]}
    header = [
        {f"{shard}.{i}": entry for i in range(safetensors.MAXIMUM_TENSORS // shards + 1)}
        for shard in range(shards)
    ]
    with pytest.raises(ConfigError, match="some of its files at a time"):
        safetensors.build(header)


def test_thousands_of_unlike_tensors_are_refused() -> None:
    header = {
        f"t{i}": {"dtype": "F32", "shape": [i + 1]} for i in range(safetensors.MAXIMUM_KINDS + 1)
    }
    with pytest.raises(ConfigError, match="differ"):
        safetensors.build(header)


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({}, "header"),
        ([], "header"),
        ({"a": 3}, "header.a"),
        ({"a": {"dtype": "F99", "shape": [1]}}, "header.a.dtype"),
        ({"a": {"dtype": "F32", "shape": [-1]}}, "header.a.shape.0"),
        ({"a": {"dtype": "F32", "shape": "x"}}, "header.a.shape"),
        ({"a": {"dtype": "F32", "shape": [10**12, 10**12]}}, "header.a.shape"),
        ({"weight_map": {"a": "model-1.safetensors"}}, "header.weight_map"),
        ("text", "header"),
    ],
)
def test_header_that_cannot_be_read_is_refused_with_its_path(header: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        safetensors.build(header)
    assert caught.value.field.startswith(field)


def test_header_survives_json() -> None:
    again = json.loads(json.dumps(BERT))
    assert list(safetensors.tensors(again)) == list(safetensors.tensors(BERT))
