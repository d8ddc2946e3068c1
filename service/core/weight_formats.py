"""Stored bytes of a network's weights in the formats that serving uses.

Quantisation applies to the matrices of linear layers; embeddings, the head, routers, norms and
biases stay at 16 bits, which is why "8B at 4 bits" is 6 GB and not 4. Bits a quantised weight:

- int8 (LLM.int8, arXiv 2208.07339): 8 and an fp16 scale a row;
- fp8: 8, with one fp32 scale a tensor, or one a 128 x 128 block (`fp8-block`, DeepSeek-V3);
- NF4 (QLoRA, arXiv 2305.14314): 4 and an fp32 absmax for 64 weights; with double quantisation an
  8-bit absmax and an fp32 constant for 256 of those: 4 + 8/64 + 32/(64 * 256) = 4.127;
- GPTQ, group g: 4 + (16 + 4)/g and an int32 group index for each input row;
- AWQ, group g: 4 + (16 + 4)/g;
- MXFP4 (OCP microscaling v1.0): 4 and an 8-bit scale for 32; NVFP4: 4, an fp8 scale for 16 and an
  fp32 scale a tensor.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from service.core import gguf
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Weight
from service.core.architecture.quantization import Quantization
from service.core.architecture.tree import Placed

Size = Callable[[int, int], float]
"""(rows, columns) of a matrix -> stored bytes."""


def _uniform(bits: float, row_bytes: float = 0.0, tensor_bytes: float = 0.0) -> Size:
    return lambda rows, columns: rows * columns * bits / 8 + rows * row_bytes + tensor_bytes


def _grouped(bits: float, group: int, group_bits: float, input_bytes: float = 0.0) -> Size:
    per_weight = (bits + group_bits / group) / 8
    return lambda rows, columns: rows * columns * per_weight + columns * input_bytes


def _blocked_fp8(rows: int, columns: int) -> float:
    return rows * columns + 4.0 * -(-rows // 128) * -(-columns // 128)


_SIZES: Mapping[str, Size] = {
    "fp32": _uniform(32),
    "bf16": _uniform(16),
    "fp16": _uniform(16),
    "fp8": _uniform(8, tensor_bytes=4),
    "fp8-block": _blocked_fp8,
    "int8": _uniform(8, row_bytes=2),
    "nf4": _grouped(4, 64, 32),
    "nf4-double": _uniform(4 + 8 / 64 + 32 / (64 * 256)),
    "mxfp4": _grouped(4, 32, 8),
    "nvfp4": _uniform(4.5, tensor_bytes=4),
}
_INTEGER = re.compile(r"(gptq|awq)-int([2348])-g(32|64|128|256)")

FORMATS: tuple[str, ...] = (
    *_SIZES,
    "gptq-int4-g128",
    "awq-int4-g128",
    *(f"gguf:{name}" for name in gguf.FILE_TYPES),
)
"""Names that a request may use; `gptq-` and `awq-` also take 2, 3, 4, 8 bits and g32 to g256."""

_WIDE = {"fp32": 4.0}
"""Bytes of what is not quantised; 2 where a format is not listed."""


class UnknownFormat(ValueError):
    """A weight format that has no size rule."""


def _unknown(name: str) -> UnknownFormat:
    """Says which known names contain the one that was meant, or look like it."""
    meant = name[:60].strip().lower()
    near = [known for known in FORMATS if meant and meant in known.lower()]
    near = near or difflib.get_close_matches(meant, FORMATS, 3)
    hint = f"; did you mean {' or '.join(near[:3])}?" if near else ""
    return UnknownFormat(f"unknown weight format {name[:60]!r}{hint}")


def matrix_size(name: str) -> Size:
    """The rule that sizes a quantised matrix; raises UnknownFormat."""
    if name in _SIZES:
        return _SIZES[name]
    match = _INTEGER.fullmatch(name)
    if match is None:
        raise _unknown(name)
    method, bits, group = match[1], int(match[2]), int(match[3])
    return _grouped(bits, group, 16 + bits, input_bytes=4.0 if method == "gptq" else 0.0)


@dataclass(frozen=True)
class WeightBytes:
    """Stored bytes of a network in one format."""

    total: float
    expert: float
    """The part of routed experts."""
    embedding: float
    """The input embedding where it is not also the head: a look-up reads one row of it."""
    bits_per_parameter: float


@lru_cache(maxsize=256)
def weight_bytes(network: Network, name: str) -> WeightBytes:
    """Bytes of all weights in the format; raises UnknownFormat."""
    total = expert = embedding = 0.0
    elements = 0
    lookup = lookup_table(network)
    for leaf, weight, size in stored_bytes(network, name):
        total += size
        expert += size if leaf.routing else 0.0
        embedding += size if leaf.operator is lookup else 0.0
        elements += weight.elements * leaf.weight_copies
    return WeightBytes(total, expert, embedding, 8.0 * total / max(elements, 1))


def stored_bytes(network: Network, name: str) -> Iterator[tuple[Placed, Weight, float]]:
    """Each tensor with the bytes of all its copies; raises UnknownFormat."""
    if name.startswith("gguf:"):
        if not gguf.known(name.removeprefix("gguf:")):
            raise _unknown(name)
        sizer = gguf.sizer(network, name.removeprefix("gguf:"))
    else:
        own = network.quantization
        as_configured = own is not None and own.weight_format == name
        wide = _WIDE.get(network.stored if as_configured else name, 2.0)
        sizer = _sizer(name, own if as_configured else None, wide)
    for leaf in network.leaves():
        for weight in leaf.weights():
            if not weight.alias:
                yield leaf, weight, sizer(leaf, weight)


def lookup_table(network: Network) -> Embedding | None:
    """The input embedding where it is not also the head: of it a token reads one row."""
    head = network.head_position()
    tied = head is not None and isinstance(head.operator, Linear) and head.operator.tied
    return None if tied else network.input_embedding()


def _sizer(name: str, own: Quantization | None, wide: float) -> Callable[[Placed, Weight], float]:
    size = matrix_size(name)

    def stored(leaf: Placed, weight: Weight) -> float:
        if not is_quantised(leaf, weight, own):
            return weight.elements * wide * leaf.weight_copies
        return size(*weight.shape) * leaf.weight_copies

    return stored


def is_quantised(leaf: Placed, weight: Weight, own: Quantization | None = None) -> bool:
    """Whether a tensor is stored in the quantised format; heads and routers never are.

    `own`: what the configuration says of its own weights; None for a format put on any network.
    """
    if not weight.matrix or (isinstance(leaf.operator, Linear) and leaf.operator.head):
        return False
    if own is None:
        return leaf.component != "router"
    if own.experts_only:
        return leaf.routing is not None
    return not any(part in own.kept for part in _parts(leaf))


_TOWERS = ("vision", "visual", "audio", "projector", "patches", "merger")


def _parts(leaf: Placed) -> set[str]:
    """Parts of the network, as `Quantization.kept` names them, that a leaf stands in."""
    found = {part for part in leaf.path if part in ("router", "attention")}
    towers = any(step.startswith(name) for step in leaf.path for name in _TOWERS)
    return found | ({"tower"} if towers else set())
