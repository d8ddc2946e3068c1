"""Reading the fields of one hand-written layer, by the annotations of its operator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from service.core.architecture.families.config import LIMITS, Config, ConfigError
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Dropout,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Pool,
    Rotary,
    Scan,
    Split,
)
from service.core.architecture.polynomial import TOKENS, Stream, fixed

OPERATORS: Mapping[str, type[Operator]] = {
    "linear": Linear,
    "embedding": Embedding,
    "parameter": Parameter,
    "norm": Norm,
    "activation": Activation,
    "dropout": Dropout,
    "rotary": Rotary,
    "attention": Attention,
    "convolution": Convolution,
    "pool": Pool,
    "scan": Scan,
}

_SPATIAL = frozenset(("stride", "padding", "size"))

_COMMON = frozenset(("type", "name", "repeat"))

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"linear": {"bias": True}}


@dataclass
class State:
    """Where in the document we are: the spatial size of the data, and how much has been read."""

    size: tuple[int, ...] | None = None
    items: int = 0
    tokens: bool = False
    rows: int = 0
    width: int = 0

    def stream(self) -> Stream | None:
        """The positions of the data, where an `input` has set them."""
        return None if self.size is None else fixed(float(math.prod(self.size)))


def read_stream(item: Config, name: str) -> Stream | None:
    """The positions that a layer says it runs on; None where it says nothing."""
    value = item.get(name)
    if value is None:
        return None
    if value == "tokens":
        return TOKENS
    if isinstance(value, Mapping):
        section = item.section(name, {"fixed": 0, "per_token": 0})
        return Stream(section.number("fixed", 0, 1e9), section.number("per_token", 0, 1e3))
    return fixed(item.number(name, 0, 1e9))


def read_operator(item: Config, kind: str, state: State) -> Operator:
    """The operator of a kind with the fields given. Raises ConfigError for others."""
    operator = OPERATORS[kind]
    own = {field.name: field for field in fields(operator)}
    spatial = kind in ("convolution", "pool")
    only(item, {*own} | (_SPATIAL | {"kernel"} if spatial else set()))
    defaults = _DEFAULTS.get(kind, {})
    if kind == "norm" and item.text("kind", "rms") != "rms":
        defaults = {"bias": True}
    values = {"name": item.text("name", kind)}
    reader = Config(item.data, defaults, item.path)
    for name, field in own.items():
        if name == "name" or (reader.get(name) is None and field.default is not MISSING):
            continue
        values[name] = _read(reader, name, field)
    if spatial:
        values |= _placed(item, state)
    return operator(**values)


def _placed(item: Config, state: State) -> dict[str, Any]:
    """Kernel sizes, and the output positions where the size of the data is known."""
    values: dict[str, Any] = {}
    is_pool = item.text("type") == "pool"
    axes = len(state.size) if state.size else 2
    kernel = _axes(item, "kernel", axes)
    if not is_pool:
        values["kernel"] = kernel
    if state.size is None or "input_positions" in item.data:
        return values
    if len(kernel) != len(state.size):
        raise ConfigError(item.where("kernel"), f"kernel needs {len(state.size)} sizes here")
    usual = kernel if is_pool else (1,) * axes
    stride = _axes(item, "stride", axes) if "stride" in item.data else usual
    padding = _axes(item, "padding", axes, 0) if "padding" in item.data else (0,) * axes
    moved = zip(state.size, kernel, stride, padding, strict=True)
    size = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in moved)
    if min(size) < 1:
        raise ConfigError(item.where("kernel"), "the kernel is larger than the data it sees")
    values["input_positions"] = math.prod(state.size) / math.prod(size)
    state.size = size
    return values


def _read(item: Config, name: str, field: Field[Any]) -> Any:
    """One field of an operator by its annotation."""
    kind = str(field.type)
    if kind == "Split":
        return _split(item, name)
    if kind == "bool":
        return item.flag(name)
    if kind == "str":
        return item.text(name)
    if kind.startswith("Stream"):
        return read_stream(item, name)
    if kind.startswith("tuple[tuple"):
        return tuple(_shape(item, name, shape) for shape in item.sequence(name))
    if kind.startswith("tuple"):
        return _shape(item, name, item.get(name))
    if kind.startswith("float"):
        return item.number(name, 0.0, 1e12)
    limit = LIMITS["rows"] if name in ("rows", "width", "inputs", "outputs") else LIMITS["size"]
    return item.integer(name, 0, limit)


def _split(item: Config, name: str) -> Split:
    try:
        return Split(item.text(name))
    except ValueError:
        known = ", ".join(Split)
        raise ConfigError(item.where(name), f"{name} is not one of {known}") from None


def _shape(item: Config, name: str, value: Any) -> tuple[int, ...]:
    given = [value] if isinstance(value, int) else value
    if not isinstance(given, list | tuple) or len(given) > 8:
        raise ConfigError(item.where(name), f"{name} must be a list of at most 8 sizes")
    sizes = Config({str(i): size for i, size in enumerate(given)}, path=item.where(name))
    return tuple(sizes.integer(str(i), 0, LIMITS["rows"]) for i in range(len(given)))


def _axes(item: Config, name: str, axes: int, minimum: int = 1) -> tuple[int, ...]:
    """One size for each axis, from a number or a list."""
    value = item.get(name)
    if isinstance(value, list | tuple):
        return tuple(max(size, minimum) for size in _shape(item, name, value))
    return (item.integer(name, minimum, 10_000),) * axes


def sizes(item: Config, name: str, allowed: set[str]) -> tuple[int, ...]:
    """One to three sizes above 0; nothing but the allowed fields beside them."""
    only(item, allowed)
    size = _shape(item, name, item.get(name))
    if not 1 <= len(size) <= 3 or min(size) < 1:
        raise ConfigError(item.where(name), f"{name} must hold one to three sizes above 0")
    return size


def only(item: Config, allowed: set[str] | frozenset[str]) -> None:
    """Raises ConfigError for a field that is not allowed here."""
    unknown = sorted(set(item.data) - allowed - _COMMON)
    if unknown:
        known = ", ".join(sorted(allowed | _COMMON))
        raise ConfigError(item.where(unknown[0]), f"unknown field; a layer here takes {known}")
