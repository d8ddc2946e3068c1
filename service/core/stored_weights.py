"""True stored bytes of a network whose configuration says how it is quantised."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.architecture.network import Network, Placed
from service.core.architecture.operators import Linear, Weight
from service.core.architecture.quantization import Quantization
from service.core.weight_formats import UnknownFormat, matrix_size

_WIDE = {"fp32": 4, "bf16": 2, "fp16": 2}
_TOWERS = ("vision", "visual", "audio", "projector", "patches", "merger")


@dataclass(frozen=True)
class StoredWeights:
    """What the weights take where they are stored."""

    total_bytes: float
    quantised_bytes: float
    """The part of the matrices that are quantised, their scales included."""
    quantised_parameters: int


def stored_weights(network: Network) -> StoredWeights:
    """The stored bytes in the format that the configuration names.

    Raises UnknownFormat where `quantization_config` names a method or modules that are not
    understood: never a guess.
    """
    quantization = network.quantization
    wide = _WIDE.get(network.stored, 2)
    if quantization is None:
        held = _elements(network)
        return StoredWeights(float(held * wide), 0.0, 0)
    if not quantization.understood:
        named = quantization.unmapped[:1] or (quantization.method,)
        raise UnknownFormat(f"quantization_config: {named[0]!r} is not understood")
    size = matrix_size(str(quantization.weight_format))
    rest = quantised = 0.0
    parameters = 0
    for leaf in network.leaves():
        for weight in leaf.weights():
            if weight.alias:
                continue
            if is_quantised(leaf, weight, quantization):
                quantised += size(*weight.shape) * leaf.weight_copies
                parameters += weight.elements * leaf.weight_copies
            else:
                rest += weight.elements * leaf.weight_copies * wide
    return StoredWeights(rest + quantised, quantised, parameters)


def _elements(network: Network) -> int:
    return sum(
        weight.elements * leaf.weight_copies
        for leaf in network.leaves()
        for weight in leaf.weights()
        if not weight.alias
    )


def is_quantised(leaf: Placed, weight: Weight, quantization: Quantization) -> bool:
    """Whether this tensor is stored in the quantised format; heads and routers never are."""
    operator = leaf.operator
    if not weight.matrix or (isinstance(operator, Linear) and operator.head):
        return False
    if quantization.experts_only:
        return leaf.routing is not None
    return not any(part in quantization.kept for part in _parts(leaf))


def _parts(leaf: Placed) -> set[str]:
    found = {part for part in leaf.path if part in ("router", "attention")}
    towers = any(step.startswith(name) for step in leaf.path for name in _TOWERS)
    return found | ({"tower"} if towers else set())
