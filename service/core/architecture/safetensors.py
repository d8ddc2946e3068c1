"""Exact counts from a safetensors header: names, shapes and number formats of all tensors.

A header tells what is stored, not what is computed: parameters and bytes by format and by module
are exact for any architecture, while FLOPs, activations and caches cannot be derived from names
alone. The format: https://huggingface.co/docs/safetensors (8 bytes of length, then this JSON).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
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

Kinds = Counter["Kind"]
"""How many tensors there are of each kind."""

MAXIMUM_TENSORS = 40_000
"""Of all headers together. A file holds some hundreds, the 163 files of DeepSeek-V3 92,000."""
MAXIMUM_KINDS = 5_000
"""Tensors that differ in their layer, format or shape."""
MAXIMUM_LAYERS = LIMITS["layers"]
"""With more numbered names than this, the numbers do not count layers."""
_LARGEST = 10**12
_FORMATS = {"F64": "fp32", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8"}
_LAYER = re.compile(r"^(.*?(?:^|\.)(?:layers|h|blocks|block|layer))\.(\d{1,9})(?:\.|$)")
_HEAD = re.compile(r"(?:^|\.)lm_head\.weight$")


class Kind(NamedTuple):
    """What equal tensors have in common."""

    dtype: str
    shape: tuple[int, ...]


def tensors(header: Any, field: str = "header") -> Iterator[tuple[str, Kind]]:
    """Name and kind of each tensor of one header, or of a list of headers (one for each shard).

    An index with a `tensors` object whose entries have `dtype` and `shape` is read too. Raises
    ConfigError with the path of what is wrong.
    """
    shards = _shards(header, field)
    if sum(len(entries) for _, entries in shards) > MAXIMUM_TENSORS:
        raise ConfigError(field, _TOO_MANY)
    known: dict[tuple[str, str], Kind] = {}
    for path, entries in shards:
        for name, entry in entries.items():
            if name not in ("__metadata__", "metadata"):
                yield name, _kind(entry, f"{path}.{name}", known)


def _shards(header: Any, field: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The entries of each file, and where they stand."""
    if not isinstance(header, list | tuple):
        return [(field, _entries(header, field))]
    if not header:
        raise ConfigError(field, "a list of headers must hold at least one")
    paths = [f"{field}.{number}" for number in range(len(header))]
    return [(path, _entries(shard, path)) for path, shard in zip(paths, header, strict=True)]


def _entries(header: Any, field: str) -> Mapping[str, Any]:
    entries = header.get("tensors", header) if isinstance(header, Mapping) else None
    if not isinstance(entries, Mapping):
        raise ConfigError(field, "a header must be an object of tensors by name")
    if "weight_map" in header and "tensors" not in header:
        raise ConfigError(
            f"{field}.weight_map",
            "an index names tensors without their shapes; send the header of each shard as a list",
        )
    return entries


_TOO_MANY = (
    f"at most {MAXIMUM_TENSORS} tensors are counted at once; send the model's config.json, or the "
    "headers of some of its files at a time"
)


def _kind(entry: Any, field: str, known: dict[tuple[str, str], Kind]) -> Kind:
    """The kind of one entry; each way of writing one is checked once."""
    if not isinstance(entry, dict):
        raise ConfigError(field, "a tensor must be an object with dtype and shape")
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ConfigError(f"{field}.dtype", f"dtype must be one of {', '.join(BITS)}")
    written = dtype, str(shape)
    if written not in known:
        known[written] = Kind(dtype, _shape(shape, f"{field}.shape"))
    return known[written]


def _shape(shape: Any, field: str) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple) or len(shape) > 16:
        raise ConfigError(field, "shape must be a list of at most 16 sizes")
    sizes = Config({str(place): size for place, size in enumerate(shape)}, path=field)
    found = tuple(sizes.integer(str(place), 0, _LARGEST) for place in range(len(shape)))
    if prod(found) > 10**16:
        raise ConfigError(field, "a tensor may hold at most 10^16 elements")
    return found


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
    before, layers, head = _divided(header, field)
    parts = [_holding("parameters", before)]
    parts += [_holding("layer", kinds, layer=True) for kinds in layers]
    parts.append(_holding("head", head))
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


def _holding(name: str, kinds: Kinds, layer: bool = False) -> Block:
    """A block of the tensors; equal ones stand in it once, with their number."""
    held = (
        Block(name, (_parameter(*kind),), count) if count > 1 else _parameter(*kind)
        for kind, count in kinds.items()
    )
    return Block(name, tuple(held), layer=layer)


def _parameter(dtype: str, shape: tuple[int, ...]) -> Operator:
    return Parameter(dtype, shape or (1,), Split.TENSOR if len(shape) > 1 else Split.WHOLE)


def _divided(header: Any, field: str) -> tuple[Kinds, Sequence[Kinds], Kinds]:
    """The tensors before the layers, of each layer, and of the head."""
    before, head = Kinds(), Kinds()
    layers: defaultdict[tuple[str, int], Kinds] = defaultdict(Kinds)
    different = 0
    for name, kind in tensors(header, field):
        match = _LAYER.match(name)
        group = layers[match[1], int(match[2])] if match else head if _HEAD.search(name) else before
        different += kind not in group
        if different > MAXIMUM_KINDS:
            raise ConfigError(field, f"more than {MAXIMUM_KINDS} tensors differ in layer or shape")
        group[kind] += 1
    if not different:
        raise ConfigError(field, "the header holds no tensors")
    if len(layers) > MAXIMUM_LAYERS:
        for group in layers.values():
            before.update(group)
        layers.clear()
    return before, [layers[key] for key in sorted(layers)], head
