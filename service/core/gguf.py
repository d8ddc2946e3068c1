"""Sizes of GGUF files: the block types and the mixtures that llama.cpp's quantiser writes.

A file type such as Q4_K_M is a recipe that gives some tensors a wider type than the base. Block
sizes: ggml-common.h (ggml-org/ggml at 9a4acb3); recipes: src/llama-quant.cpp (ggml-org/llama.cpp
at 007dbbf). The recipes of a few types look at whether there is an importance matrix: the suffix
`-imatrix` says so, and the types that are only ever made with one need no suffix. Publishers' "L",
"XL" and "UD" files override tensors: sizes here are those of the stock recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Embedding, Linear, Weight
from service.core.architecture.tree import Placed


class BlockType(NamedTuple):
    """A storage type: `weights` elements of a row are stored in `size` bytes."""

    weights: int
    size: int


BLOCKS: Mapping[str, BlockType] = {
    "F32": BlockType(1, 4),
    "F16": BlockType(1, 2),
    "BF16": BlockType(1, 2),
    "Q4_0": BlockType(32, 18),
    "Q4_1": BlockType(32, 20),
    "Q5_0": BlockType(32, 22),
    "Q5_1": BlockType(32, 24),
    "Q8_0": BlockType(32, 34),
    "Q2_K": BlockType(256, 84),
    "Q3_K": BlockType(256, 110),
    "Q4_K": BlockType(256, 144),
    "Q5_K": BlockType(256, 176),
    "Q6_K": BlockType(256, 210),
    "IQ1_S": BlockType(256, 50),
    "IQ1_M": BlockType(256, 56),
    "IQ2_XXS": BlockType(256, 66),
    "IQ2_XS": BlockType(256, 74),
    "IQ2_S": BlockType(256, 82),
    "IQ3_XXS": BlockType(256, 98),
    "IQ3_S": BlockType(256, 110),
    "IQ4_NL": BlockType(32, 18),
    "IQ4_XS": BlockType(256, 136),
    "TQ1_0": BlockType(256, 54),
    "TQ2_0": BlockType(256, 66),
    "MXFP4": BlockType(32, 17),
}

_FALLBACK = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "TQ1_0": "Q4_0",
    "TQ2_0": "Q4_0",
} | {name: "IQ4_NL" for name in BLOCKS if name.startswith("IQ") and name != "IQ4_NL"}

_BASE = {
    "Q2_K": "Q2_K",
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "IQ2_M": "IQ2_S",
    "IQ2_S": "IQ2_XS",
    "IQ3_M": "IQ3_S",
    "IQ3_XS": "IQ3_S",
    "MXFP4_MOE": "Q8_0",
}
FILE_TYPES: tuple[str, ...] = tuple(
    sorted({*BLOCKS, *_BASE} - {"F32", "Q3_K", "Q4_K", "Q5_K", "MXFP4"})
)
"""File types that a request may name after `gguf:`."""

IMATRIX = "-imatrix"
"""Suffix of a file type that is made with an importance matrix."""

_LOW = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"))

_ROLES = {
    "q_proj": "attn_q",
    "query": "attn_q",
    "k_proj": "attn_k",
    "key": "attn_k",
    "v_proj": "attn_v",
    "value": "attn_v",
    "o_proj": "attn_output",
    "out_proj": "attn_output",
    "dense": "attn_output",
    "qkv_proj": "attn_qkv",
    "c_attn": "attn_qkv",
    "query_key_value": "attn_qkv",
    "Wqkv": "attn_qkv",
    "down_proj": "ffn_down",
    "w2": "ffn_down",
    "fc2": "ffn_down",
    "dense_4h_to_h": "ffn_down",
    "gate_proj": "ffn_gate",
    "w1": "ffn_gate",
    "up_proj": "ffn_up",
    "w3": "ffn_up",
    "fc1": "ffn_up",
    "dense_h_to_4h": "ffn_up",
}


class _Model(NamedTuple):
    """What the recipes look at beside the tensor itself."""

    layers: int
    group: int
    """Query heads for one key-value head."""
    experts: int
    large: bool
    """llama.cpp's 70B class: 80 layers with grouped queries."""
    tied: bool
    imatrix: bool


def known(file_type: str) -> bool:
    """Whether a file type, with or without the suffix, has a recipe."""
    return file_type.removesuffix(IMATRIX) in FILE_TYPES


def sizer(network: Network, file_type: str) -> Callable[[Placed, Weight], float]:
    """The rule that gives a tensor's stored bytes over all the layers that hold one like it.

    Raises ValueError for a file type that has no recipe.
    """
    if not known(file_type):
        raise ValueError(f"unknown GGUF file type {file_type[:40]!r}")
    recipe = file_type.removesuffix(IMATRIX)
    always = recipe in _LOW or recipe == "IQ3_XXS"
    model = _model(network, always or file_type.endswith(IMATRIX))

    def stored(leaf: Placed, weight: Weight) -> float:
        first = leaf.first_layer or 0
        held = min(leaf.layer_count, leaf.weight_copies)
        sizes = (
            tensor_bytes(weight, tensor_type(leaf, weight, first + index, model, recipe))
            for index in range(held)
        )
        return float(sum(sizes) * (leaf.weight_copies // held))

    return stored


def tensor_bytes(weight: Weight, block_type: str) -> int:
    """Stored bytes of one tensor; rows that the block does not divide fall back to another type."""
    columns = weight.shape[-1]
    block = BLOCKS[block_type]
    if columns % block.weights:
        block = BLOCKS[_FALLBACK.get(block_type, "F16")]
    if columns % block.weights:
        block = BLOCKS["F16"]
    return weight.elements // block.weights * block.size


def tensor_type(leaf: Placed, weight: Weight, layer: int, model: _Model, file_type: str) -> str:
    """The block type that the recipe gives a tensor."""
    operator = leaf.operator
    base = _BASE.get(file_type, file_type)
    if len(weight.shape) == 1 or leaf.component == "router":
        return "F32"
    if base in ("F16", "BF16", "F32"):
        return base
    if isinstance(operator, Embedding):
        return _output(file_type, base) if model.tied else _embedding(file_type, base)
    if isinstance(operator, Linear) and operator.head:
        return _output(file_type, base)
    if file_type == "MXFP4_MOE":
        return "MXFP4" if leaf.routing else "Q8_0"
    if not weight.matrix:
        return "F16"
    rule = _RULES.get(_ROLES.get(operator.name, ""))
    return rule(file_type, layer, model) or base if rule else base


def _model(network: Network, imatrix: bool) -> _Model:
    attentions = [
        leaf.operator for leaf in network.leaves() if isinstance(leaf.operator, Attention)
    ]
    group = max((a.heads // a.key_value_heads for a in attentions), default=1)
    head = network.head_position()
    tied = head is not None and getattr(head.operator, "tied", False)
    layers = network.layers
    return _Model(layers, group, network.experts(), layers == 80 and group > 1, tied, imatrix)


def _output(file_type: str, base: str) -> str:
    if file_type in _LOW or file_type == "IQ3_XXS":
        return "Q5_K"
    return base if base == "Q8_0" else "Q6_K"


def _embedding(file_type: str, base: str) -> str:
    if file_type in ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"):
        return "Q2_K"
    if file_type in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
        return "IQ3_S"
    return "Q4_K" if file_type in ("TQ1_0", "TQ2_0") else base


def _more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _attn_v(file_type: str, layer: int, model: _Model) -> str | None:
    if file_type in _LOW:
        if model.group >= 4 or model.experts >= 4:
            return "Q4_K"
        return "IQ3_S" if file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
    grouped = model.group >= 4
    chosen: str | None = {
        "Q2_K": "Q4_K" if grouped else "Q3_K",
        "Q2_K_S": "Q4_K" if grouped else None,
        "IQ3_XXS": "Q4_K" if grouped else None,
        "IQ3_XS": "Q4_K" if grouped else None,
        "IQ3_S": "Q4_K" if grouped else None,
        "IQ3_M": "Q4_K",
        "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ4_NL": "Q5_K" if grouped else None,
        "IQ4_XS": "Q5_K" if grouped else None,
        "Q4_K_M": "Q6_K" if _more_bits(layer, model.layers) else None,
        "Q5_K_M": "Q6_K" if _more_bits(layer, model.layers) else None,
        "Q4_K_S": "Q5_K" if layer < 4 else None,
    }.get(file_type)
    if model.large and (chosen or _BASE.get(file_type)) in ("Q3_K", "Q4_K"):
        chosen = "Q5_K"
    return "Q8_0" if model.experts == 8 else chosen


def _attn_k(file_type: str, layer: int, model: _Model) -> str | None:
    if model.experts == 8:
        return "Q4_K" if file_type in _LOW else "Q8_0"
    return _attn_q(file_type, layer, model)


def _attn_q(file_type: str, layer: int, model: _Model) -> str | None:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(file_type)


def _attn_output(file_type: str, layer: int, model: _Model) -> str | None:
    if model.experts == 8:
        wide = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "Q3_K_L")
        return None if file_type in wide else "Q5_K"
    return {
        "IQ1_S": "IQ2_XXS",
        "IQ1_M": "IQ2_XXS",
        "IQ2_S": "IQ3_S",
        "IQ2_M": "IQ3_S",
        "Q2_K": "Q3_K",
        "IQ3_XXS": "IQ3_S",
        "Q3_K_M": "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ3_M": "Q4_K",
    }.get(file_type)


def _ffn_down(file_type: str, layer: int, model: _Model) -> str | None:
    early, layers = layer < model.layers // 8, model.layers
    more = _more_bits(layer, layers)
    if file_type in _LOW:
        wide = "IQ3_S" if file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
        return wide if early else None
    return {
        "Q2_K": "Q3_K",
        "Q2_K_S": "Q4_K" if early else None,
        "Q3_K_M": "Q5_K" if layer < layers // 16 else "Q4_K",
        "IQ3_M": "Q4_K" if early or (model.experts == 8 and more) else None,
        "Q3_K_L": "Q5_K",
        "Q4_K_M": "Q6_K" if more else None,
        "IQ4_NL": "Q5_K" if early and not model.imatrix else None,
        "IQ4_XS": "Q5_K" if early and not model.imatrix else None,
        "Q4_0": "Q4_1" if early and model.imatrix else None,
        "Q5_0": "Q5_1" if early and model.imatrix else None,
        "Q5_K_M": "Q6_K" if more else None,
        "Q4_K_S": "Q5_K" if early else None,
    }.get(file_type)


def _attn_qkv(file_type: str, layer: int, model: _Model) -> str | None:
    return {
        "Q3_K_M": "Q4_K",
        "Q3_K_L": "Q4_K",
        "IQ3_M": "Q4_K",
        "Q4_K_M": "Q5_K",
        "Q5_K_M": "Q6_K",
    }.get(file_type)


def _ffn_gate_up(file_type: str, layer: int, model: _Model) -> str | None:
    middle = model.layers // 8 <= layer < 7 * model.layers // 8
    return "IQ3_XXS" if file_type == "IQ3_XS" and middle else None


_RULES: Mapping[str, Callable[[str, int, _Model], str | None]] = {
    "attn_v": _attn_v,
    "attn_k": _attn_k,
    "attn_q": _attn_q,
    "attn_output": _attn_output,
    "attn_qkv": _attn_qkv,
    "ffn_down": _ffn_down,
    "ffn_gate": _ffn_gate_up,
    "ffn_up": _ffn_gate_up,
}
