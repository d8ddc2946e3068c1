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


def test_counts_parameters_bytes_by_dtype_and_layers() -> None:
    counts = safetensors.counts(safetensors.tensors(BERT))
    table, square = 30522 * 768, 768 * 768
    assert counts.parameters == 2 * table + 2 * square + 1
    assert counts.bytes_by_dtype == {
        "F32": 4 * (table + square + 1),
        "BF16": 2 * square,
        "F8_E4M3": table,
    }
    assert counts.stored_bytes == sum(counts.bytes_by_dtype.values())
    assert counts.layers == 2


def test_network_of_a_header_holds_every_parameter_once() -> None:
    network = safetensors.build(BERT)
    assert (
        parameters.count(network).total == safetensors.counts(safetensors.tensors(BERT)).parameters
    )
    assert network.layers == 2


def test_shards_are_read_as_one_model() -> None:
    names = [name for name in BERT if name != "__metadata__"]
    shards = [{name: BERT[name]} for name in names]
    assert safetensors.counts(safetensors.tensors(shards)) == safetensors.counts(
        safetensors.tensors(BERT)
    )


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
    assert safetensors.tensors(again) == safetensors.tensors(BERT)
