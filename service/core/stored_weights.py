"""What a network's weights take as its own configuration stores them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from service.core.architecture.network import Network
from service.core.weight_formats import UnknownFormat, is_quantised, stored_bytes


def own_format(network: Network) -> str:
    """The format that the configuration names for its weights.

    Raises UnknownFormat where `quantization_config` names a method or modules that are not
    understood: never a guess.
    """
    quantization = network.quantization
    if quantization is None:
        return network.stored
    if not quantization.understood:
        named = quantization.unmapped[:1] or (quantization.method,)
        raise UnknownFormat(f"quantization_config: {named[0]!r} is not understood")
    return str(quantization.weight_format)


@lru_cache(maxsize=256)
def bytes_by_format(network: Network) -> Mapping[str, float]:
    """Stored bytes: of quantised matrices with their scales, and of what stays as it is.

    Raises UnknownFormat as `own_format` does.
    """
    name, quantization = own_format(network), network.quantization
    found: dict[str, float] = {}
    for leaf, weight, size in stored_bytes(network, name):
        key = name if quantization and is_quantised(leaf, weight, quantization) else network.stored
        found[key] = found.get(key, 0.0) + size
    return {key: size for key, size in found.items() if size}
