"""Exact counts from a safetensors header: names, shapes and number formats of all tensors.

A header tells what is stored, not what is computed: parameters and bytes by format and by module
are exact for any architecture, while FLOPs, activations and caches cannot be derived from names
alone. The format: https://huggingface.co/docs/safetensors (8 bytes of length, then this JSON).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from service.core.architecture.families.config import LIMITS, Config, ConfigError
from service.core.architecture.network import Network
from service.core.architecture.operators import Operator, Parameter, Split
from service.core.architecture.tree import Block

BITS: Mapping[str, int] = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
}  # fmt: skip
"""Bits of one element by the header's `dtype`."""

MAXIMUM_TENSORS = 40_000
"""Of all headers together. A file holds some hundreds, the 163 files of DeepSeek-V3 92,000."""
MAXIMUM_KINDS = 10_000
"""Tensors that differ in their layer, format or shape."""
MAXIMUM_LAYERS = LIMITS["layers"]
"""With more numbered names than this, the numbers do not count layers."""
_LARGEST = 10**12
_FORMATS = {"F64": "fp32", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8"}
_LAYER = re.compile(r"^(.*?(?:^|\.)(?:layers|h|blocks|block|layer))\.(\d+)(?:\.|$)")
_HEAD = re.compile(r"(?:^|\.)lm_head\.weight$")


class Tensor(NamedTuple):
    """One entry of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def tensors(header: Any, field: str = "header") -> tuple[Tensor, ...]:
    """The tensors of one header, or of a list of headers (one for each shard).

    An index with a `tensors` object whose entries have `dtype` and `shape` is read too. Raises
    ConfigError with the path of what is wrong.
    """
    if isinstance(header, list | tuple):
        if not header:
            raise ConfigError(field, "a list of headers must hold at least one")
        if sum(len(shard) for shard in header if isinstance(shard, Mapping)) > MAXIMUM_TENSORS:
            raise ConfigError(field, _TOO_MANY)
        shards = enumerate(header)
        return tuple(t for i, shard in shards for t in tensors(shard, f"{field}.{i}"))
    if not isinstance(header, Mapping):
        raise ConfigError(field, "a header must be an object of tensors by name")
    entries = header.get("tensors", header)
    if "weight_map" in header and "tensors" not in header:
        raise ConfigError(
            f"{field}.weight_map",
            "an index names tensors without their shapes; send the header of each shard as a list",
        )
    if not isinstance(entries, Mapping):
        raise ConfigError(field, "a header must be an object of tensors by name")
    if len(entries) > MAXIMUM_TENSORS:
        raise ConfigError(field, _TOO_MANY)
    found = [
        _tensor(name, entry, field)
        for name, entry in entries.items()
        if name not in ("__metadata__", "metadata")
    ]
    if not found:
        raise ConfigError(field, "the header holds no tensors")
    return tuple(found)


_TOO_MANY = (
    f"at most {MAXIMUM_TENSORS} tensors are counted at once; send the model's config.json, or the "
    "headers of some of its files at a time"
)


def _tensor(name: str, entry: Any, field: str) -> Tensor:
    if not isinstance(entry, dict):
        raise ConfigError(f"{field}.{name}", "a tensor must be an object with dtype and shape")
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ConfigError(f"{field}.{name}.dtype", f"dtype must be one of {', '.join(BITS)}")
    if not isinstance(shape, list | tuple) or len(shape) > 16:
        raise ConfigError(f"{field}.{name}.shape", "shape must be a list of at most 16 sizes")
    if not all(type(size) is int and 0 <= size <= _LARGEST for size in shape):
        where = f"{field}.{name}.shape"
        sizes = Config({str(place): size for place, size in enumerate(shape)}, path=where)
        shape = [sizes.integer(str(place), 0, _LARGEST) for place in range(len(shape))]
    if prod(shape) > 10**16:
        raise ConfigError(f"{field}.{name}.shape", "a tensor may hold at most 10^16 elements")
    return Tensor(name, dtype, tuple(shape))


def bytes_by_dtype(network: Network) -> Mapping[str, int]:
    """Bytes in the file, or the files, by number format; of a network that `build` made."""
    stored: dict[str, int] = {}
    for leaf, layers in network.stage():
        dtype = leaf.operator.name
        (weight,) = leaf.weights()
        each = -(-weight.elements * BITS[dtype] // 8)
        stored[dtype] = stored.get(dtype, 0) + each * leaf.weight_copies * layers
    return stored


def build(header: Any, field: str = "header") -> Network:
    """A network that holds the tensors and computes nothing.

    Layers are recognised by numbered names (`model.layers.7.mlp...`), so that pipelines and
    ZeRO-3 divide what they would.
    """
    found = tensors(header, field)
    layers, outside = _divided(found)
    before = [t for t in outside if not _HEAD.search(t.name)]
    parts = [_holding("parameters", before)]
    parts += [_holding("layer", members, layer=True) for members in layers.values()]
    parts.append(_holding("head", [t for t in outside if _HEAD.search(t.name)]))
    if sum(len(part.children) for part in parts) > MAXIMUM_KINDS:
        raise ConfigError(field, f"more than {MAXIMUM_KINDS} tensors differ in layer or shape")
    network = Network(
        "",
        "safetensors",
        Block("model", tuple(part for part in parts if part.children)),
        causal=False,
        notes=("names and shapes tell what is stored, not what is computed",),
    )
    stored = bytes_by_dtype(network)
    widest = max(stored, key=lambda name: stored[name])
    return replace(network, stored=_FORMATS.get(widest, "bf16"))


def _holding(name: str, members: Iterable[Tensor], layer: bool = False) -> Block:
    """A block of the tensors; equal ones stand in it once, with their number."""
    kinds = Counter((tensor.dtype, tensor.shape or (1,)) for tensor in members)
    held = (
        Block(name, (_parameter(*kind),), count) if count > 1 else _parameter(*kind)
        for kind, count in kinds.items()
    )
    return Block(name, tuple(held), layer=layer)


def _parameter(dtype: str, shape: tuple[int, ...]) -> Operator:
    return Parameter(dtype, shape, Split.TENSOR if len(shape) > 1 else Split.WHOLE)


def _layer_key(name: str) -> tuple[str, int] | None:
    match = _LAYER.match(name)
    return (match[1], int(match[2])) if match else None


def _divided(
    found: Sequence[Tensor],
) -> tuple[Mapping[tuple[str, int], Sequence[Tensor]], Sequence[Tensor]]:
    """The tensors of each layer, and those outside the layers."""
    layers: dict[tuple[str, int], list[Tensor]] = {}
    outside: list[Tensor] = []
    for tensor in found:
        key = _layer_key(tensor.name)
        (outside if key is None else layers.setdefault(key, [])).append(tensor)
    if len(layers) > MAXIMUM_LAYERS:
        return {}, found
    return dict(sorted(layers.items())), outside
