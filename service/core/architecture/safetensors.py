"""Exact counts from a safetensors header: names, shapes and number formats of all tensors.

A header tells what is stored, not what is computed: parameters and bytes by format and by module
are exact for any architecture, while FLOPs, activations and caches cannot be derived from names
alone. The format: https://huggingface.co/docs/safetensors (8 bytes of length, then this JSON).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

MAXIMUM_TENSORS = 200_000
MAXIMUM_LAYERS = LIMITS["layers"]
"""With more numbered names than this, the numbers do not count layers."""
_LARGEST = 10**12
_FORMATS = {"F64": "fp32", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8"}
_LAYER = re.compile(r"^(.*?(?:^|\.)(?:layers|h|blocks|block|layer))\.(\d+)(?:\.|$)")
_HEAD = re.compile(r"(?:^|\.)lm_head\.weight$")


@dataclass(frozen=True)
class Tensor:
    """One entry of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file."""
        return -(-self.elements * BITS[self.dtype] // 8)


def tensors(header: Any, field: str = "header") -> tuple[Tensor, ...]:
    """The tensors of one header, or of a list of headers (one for each shard).

    An index with a `tensors` object whose entries have `dtype` and `shape` is read too. Raises
    ConfigError with the path of what is wrong.
    """
    if isinstance(header, list | tuple):
        if not header:
            raise ConfigError(field, "a list of headers must hold at least one")
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
    if not isinstance(entries, Mapping) or len(entries) > MAXIMUM_TENSORS:
        raise ConfigError(field, f"a header must hold at most {MAXIMUM_TENSORS} tensors by name")
    found = [
        _tensor(name, entry, f"{field}.{name}")
        for name, entry in entries.items()
        if name not in ("__metadata__", "metadata")
    ]
    if not found:
        raise ConfigError(field, "the header holds no tensors")
    return tuple(found)


def _tensor(name: str, entry: Any, where: str) -> Tensor:
    if not isinstance(entry, Mapping):
        raise ConfigError(where, "a tensor must be an object with dtype and shape")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ConfigError(f"{where}.dtype", f"dtype must be one of {', '.join(BITS)}")
    shape = entry.get("shape")
    if not isinstance(shape, list | tuple) or len(shape) > 16:
        raise ConfigError(f"{where}.shape", "shape must be a list of at most 16 sizes")
    tensor = Tensor(name, dtype, _sizes(shape, where))
    if tensor.elements > 10**16:
        raise ConfigError(f"{where}.shape", "a tensor may hold at most 10^16 elements")
    return tensor


def _sizes(shape: Sequence[Any], where: str) -> tuple[int, ...]:
    if all(type(size) is int and 0 <= size <= _LARGEST for size in shape):
        return tuple(shape)
    sizes = Config({str(i): size for i, size in enumerate(shape)}, path=f"{where}.shape")
    return tuple(sizes.integer(str(i), 0, _LARGEST) for i in range(len(shape)))


@dataclass(frozen=True)
class HeaderCounts:
    """What a header says, exactly."""

    parameters: int
    stored_bytes: int
    bytes_by_dtype: Mapping[str, int]
    parameters_by_module: Mapping[str, int]
    layers: int


def counts(found: Sequence[Tensor]) -> HeaderCounts:
    """Parameters and bytes, by number format and by module (two levels of the name)."""
    by_dtype, by_module = bytes_by_dtype(found), dict[str, int]()
    for tensor in found:
        module = _module(tensor.name)
        by_module[module] = by_module.get(module, 0) + tensor.elements
    total, stored = sum(by_module.values()), sum(by_dtype.values())
    return HeaderCounts(total, stored, by_dtype, by_module, len(_divided(found)[0]))


def bytes_by_dtype(found: Sequence[Tensor]) -> Mapping[str, int]:
    """Bytes in the file by number format."""
    stored: dict[str, int] = {}
    for tensor in found:
        stored[tensor.dtype] = stored.get(tensor.dtype, 0) + tensor.stored_bytes
    return stored


def build(header: Any, field: str = "header") -> Network:
    """A network that holds the tensors and computes nothing.

    Layers are recognised by numbered names (`model.layers.7.mlp...`), so that pipelines and
    ZeRO-3 divide what they would.
    """
    found = tensors(header, field)
    layers, outside = _divided(found)
    before = [t for t in outside if not _HEAD.search(t.name)]
    parts = [Block("parameters", tuple(map(_parameter, before)))]
    parts += [
        Block("layer", tuple(map(_parameter, members)), layer=True) for members in layers.values()
    ]
    parts.append(Block("head", tuple(_parameter(t) for t in outside if _HEAD.search(t.name))))
    stored = bytes_by_dtype(found)
    widest = max(stored, key=lambda name: stored[name])
    return Network(
        "",
        "safetensors",
        Block("model", tuple(part for part in parts if part.children)),
        causal=False,
        stored=_FORMATS.get(widest, "bf16"),
        notes=("names and shapes tell what is stored, not what is computed",),
    )


def _parameter(tensor: Tensor) -> Operator:
    split = Split.TENSOR if len(tensor.shape) > 1 else Split.WHOLE
    return Parameter(tensor.name, tensor.shape or (1,), split)


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


def _module(name: str) -> str:
    parts = [part for part in name.split(".") if not part.isdigit()]
    return ".".join(parts[:2]) if len(parts) > 1 else name
