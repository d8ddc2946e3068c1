"""Which family builds which `model_type`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from service.core.architecture import families, quantization
from service.core.architecture.families.config import Config, ConfigError, UnknownArchitecture
from service.core.architecture.network import Network

Builder = Callable[[Config], Network]


@cache
def builders() -> Mapping[str, Builder]:
    """Every family by `model_type`: the union of the `FAMILIES` of the modules beside this one."""
    found: dict[str, Builder] = {}
    for module in pkgutil.iter_modules(families.__path__):
        loaded = importlib.import_module(f"{families.__name__}.{module.name}")
        found.update(getattr(loaded, "FAMILIES", {}))
    return found


def build(config: Mapping[str, Any]) -> Network:
    """The network that a config.json describes.

    Raises UnknownArchitecture for a `model_type` without a family and ConfigError for a field
    that is missing, absurd or of the wrong type.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError("model_type", "model_type is missing; it names the architecture")
    builder = builders().get(model_type)
    if builder is None:
        raise UnknownArchitecture(
            "model_type",
            f"model_type {model_type[:80]!r} has no family; send the safetensors header, or run "
            "`python -m service trace config.json` and send the `layers` document it prints",
        )
    network = builder(Config(config))
    stored = quantization.read(config)
    return replace(network, quantization=stored) if stored else network
