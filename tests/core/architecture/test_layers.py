"""Hand-written networks: what they count to, how they are refused, and that nothing is lost."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from service.core import compute, parameters
from service.core.architecture.families import layers, registry
from service.core.architecture.families.config import ConfigError, UnknownArchitecture
from service.core.architecture.families.layer_fields import OPERATORS
from service.core.architecture.network import Network
from service.core.architecture.operators import Convolution, Linear, Norm, Operator, Pool
from service.core.architecture.polynomial import Stream
from service.core.architecture.tree import Block

CONFIGS = sorted((Path(__file__).parents[2] / "data/truth/configs").glob("*.json"))

CNN = [
    {"type": "input", "size": [32, 32]},
    {"type": "convolution", "inputs": 3, "outputs": 64, "kernel": 3, "padding": 1},
    {"type": "norm", "kind": "batch", "width": 64},
    {"type": "activation", "kind": "relu", "width": 64},
    {"type": "pool", "width": 64, "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "inputs": 16384, "outputs": 10},
]
TRANSFORMER = [
    {"type": "embedding", "rows": 1000, "width": 64, "input": True},
    {
        "type": "block",
        "layer": True,
        "repeat": 4,
        "layers": [
            {"type": "norm", "width": 64},
            {"type": "self_attention", "hidden": 64, "heads": 4, "key_value_heads": 2},
            {"type": "norm", "width": 64},
            {"type": "gated_mlp", "hidden": 64, "intermediate": 128},
        ],
    },
    {"type": "linear", "inputs": 64, "outputs": 1000, "bias": False, "head": True},
]


def test_mlp_of_three_linear_layers_has_3003000_parameters() -> None:
    network = layers.build([{"type": "linear", "inputs": 1000, "outputs": 1000, "repeat": 3}])
    assert parameters.count(network).total == 3_003_000
    assert compute.table(network).forward(1.0) == 3 * 2 * 1000 * 1000


def test_cnn_counts_positions_through_convolutions_and_pools() -> None:
    network = layers.build(CNN)
    assert parameters.count(network).total == 3 * 3 * 3 * 64 + 64 + 128 + 16384 * 10 + 10
    convolution = 2 * 3 * 3 * 3 * 64 * 32 * 32
    assert compute.table(network).forward(1.0) == convolution + 2 * 16384 * 10


def test_transformer_by_hand_has_layers_a_head_and_a_vocabulary() -> None:
    network = layers.build(TRANSFORMER)
    attention = 64 * 64 * 2 + 64 * 32 * 2
    layer = attention + 3 * 64 * 128 + 2 * 64
    assert parameters.count(network).total == 2 * 64_000 + 4 * layer
    assert (network.layers, network.vocabulary, network.heads()) == (4, 1000, (4,))


def test_mixture_of_experts_holds_all_experts_and_uses_some() -> None:
    expert = [{"type": "linear", "inputs": 8, "outputs": 8, "bias": False}]
    block = {"type": "block", "experts": {"count": 4, "active": 1}, "layers": expert}
    counts = parameters.count(layers.build([block]))
    assert (counts.total, counts.active) == (256, 64)


TYPES = {operator: name for name, operator in OPERATORS.items()}


def document(network: Network) -> list[dict[str, Any]]:
    """The layers document of any network: `build` of it gives an equal tree."""
    children = [written(child) for child in network.root.children]
    if network.tokens and network.input_embedding() is None:
        return [{"type": "block", "name": "model", "positions": "tokens", "layers": children}]
    return children


def written(node: Block | Operator) -> dict[str, Any]:
    if not isinstance(node, Block):
        kind = TYPES[type(node)]
        return {"type": kind} | changed(node) | explicit(node, kind)
    routing = node.routing
    flags = {n: True for n in ("shared", "layer", "frozen", "reused", "alias") if getattr(node, n)}
    return (
        {"type": "block", "name": node.name}
        | ({"repeat": node.repeat} if node.repeat > 1 else {})
        | flags
        | ({"positions": node.stream._asdict()} if node.stream else {})
        | ({"experts": {"count": routing.count, "active": routing.active}} if routing else {})
        | {"layers": [written(child) for child in node.children]}
    )


def changed(node: Operator) -> dict[str, Any]:
    """The fields that differ from the operator's defaults, as JSON."""
    found = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.default is MISSING or value != field.default:
            found[field.name] = value._asdict() if isinstance(value, Stream) else value
    return found


def explicit(node: Operator, kind: str) -> dict[str, Any]:
    """Fields whose default in a document differs from the operator's own."""
    explicit: dict[str, Any] = {}
    if isinstance(node, Linear) or (isinstance(node, Norm) and node.kind != "rms"):
        explicit["bias"] = node.bias
    if isinstance(node, Convolution | Pool):
        explicit["input_positions"] = node.input_positions
    if kind == "pool":
        explicit["kernel"] = 1
    return explicit


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_document_of_any_network_builds_an_equal_one(path: Path) -> None:
    try:
        network = registry.build(json.loads(path.read_text()))
    except UnknownArchitecture:
        pytest.skip("no family describes this type")
    again = layers.build(json.loads(json.dumps(document(network))))
    before, after = parameters.count(network), parameters.count(again)
    assert (before.total, before.untied, before.active) == (after.total, after.untied, after.active)
    assert compute.table(network).forward(512.0) == compute.table(again).forward(512.0)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([{"type": "linear", "inputs": -1, "outputs": 3}], "layers.0.inputs"),
        ([{"type": "linear", "inputs": float("nan"), "outputs": 3}], "layers.0.inputs"),
        ([{"type": "linear", "inputs": 10**400, "outputs": 3}], "layers.0.inputs"),
        ([{"type": "linear", "inputs": "ten", "outputs": 3}], "layers.0.inputs"),
        ([{"type": "linear", "inputs": 1, "outputs": 1, "color": 2}], "layers.0.color"),
        ([{"type": "linear", "inputs": 1}], "layers.0.outputs"),
        ([{"type": "linea"}], "layers.0.type"),
        ([7], "layers.0"),
        ([{"type": "block", "layers": [{"type": "norm"}]}], "layers.0.layers.0.width"),
        ([{"type": "linear", "inputs": 1, "outputs": 1, "repeat": 10**9}], "layers.0.repeat"),
        (
            [{"type": "input", "size": [2, 2]}, {"type": "pool", "width": 1, "kernel": 5}],
            "layers.1.kernel",
        ),
    ],
)
def test_wrong_layer_is_refused_with_the_path_of_its_field(document: list, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        layers.build(document)
    assert caught.value.field == field


def test_deep_nesting_is_refused() -> None:
    document: list = [{"type": "linear", "inputs": 1, "outputs": 1}]
    for _ in range(layers.MAXIMUM_DEPTH + 1):
        document = [{"type": "block", "layers": document}]
    with pytest.raises(ConfigError, match="nested"):
        layers.build(document)
