"""Reading a config.json: typed fields, the implementation's defaults, bounds, clear refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LIMITS = {"layers": 1_000, "size": 2_000_000, "rows": 50_000_000}
"""Largest accepted number of layers, width of a tensor's axis, rows of a table."""


class ConfigError(ValueError):
    """A configuration that cannot be read. `field` is its path in the config, dots between."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownArchitecture(ConfigError):
    """A `model_type` without a family, or a field of one that is not handled."""


class Config:
    """A view on a config.json that reads fields with their type, default and bounds.

    `defaults` are those of the real implementation (transformers 5.23.0) for the fields that the
    file leaves out; a null in the file counts as left out unless the field is read as optional.
    """

    def __init__(
        self, data: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, path: str = ""
    ) -> None:
        self.data = data
        self.defaults = defaults or {}
        self.path = path

    def where(self, name: str) -> str:
        """The path of a field from the top of the file."""
        return f"{self.path}.{name}" if self.path else name

    def get(self, name: str) -> Any:
        """The raw value, or the default, or None."""
        value = self.data.get(name)
        return self.defaults.get(name) if value is None else value

    def integer(self, name: str, minimum: int = 1, maximum: int = LIMITS["size"]) -> int:
        """A whole number within bounds."""
        value = self.get(name)
        if value is None:
            raise ConfigError(self.where(name), f"{name} is missing; add it")
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(self.where(name), f"{name} must be a whole number")
        if not minimum <= value <= maximum:
            raise ConfigError(self.where(name), f"{name} must lie between {minimum} and {maximum}")
        return value

    def optional(self, name: str, minimum: int = 0, maximum: int = LIMITS["size"]) -> int | None:
        """A whole number, or None where the field is null, or absent with no default."""
        if name in self.data and self.data[name] is None:
            return None
        return None if self.get(name) is None else self.integer(name, minimum, maximum)

    def layers(self, name: str) -> int:
        """A number of layers."""
        return self.integer(name, 0, LIMITS["layers"])

    def rows(self, name: str) -> int:
        """A number of rows of an embedding table."""
        return self.integer(name, 0, LIMITS["rows"])

    def number(self, name: str, minimum: float = 0.0, maximum: float = 1e9) -> float:
        """A finite number within bounds."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(self.where(name), f"{name} must be a number")
        if not minimum <= value <= maximum:
            raise ConfigError(self.where(name), f"{name} must lie between {minimum} and {maximum}")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean; absent counts as false unless the defaults say otherwise."""
        value = self.get(name)
        if value is None:
            return False
        if not isinstance(value, bool | int):
            raise ConfigError(self.where(name), f"{name} must be true or false")
        return bool(value)

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise ConfigError(self.where(name), f"{name} must be a string")
        return value

    def sequence(self, name: str, maximum: int = LIMITS["layers"]) -> Sequence[Any]:
        """A list of at most `maximum` items; empty where absent."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or len(value) > maximum:
            raise ConfigError(self.where(name), f"{name} must be a list of at most {maximum} items")
        return value

    def indices(self, name: str, maximum: int = LIMITS["layers"]) -> frozenset[int]:
        """A list of layer numbers, as a set; empty where absent."""
        items = self.sequence(name, maximum)
        if any(isinstance(item, bool) or not isinstance(item, int) for item in items):
            raise ConfigError(self.where(name), f"{name} must be a list of whole numbers")
        return frozenset(items)

    def section(self, name: str, defaults: Mapping[str, Any] | None = None) -> Config:
        """A nested configuration (text_config, vision_config ...); empty where absent."""
        value = self.data.get(name)
        if value is None:
            value = self.defaults.get(name) or {}
        if not isinstance(value, Mapping):
            raise ConfigError(self.where(name), f"{name} must be an object")
        return Config(value, defaults, self.where(name))
