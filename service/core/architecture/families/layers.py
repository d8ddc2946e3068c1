"""Networks written by hand: a list of typed layers, or any tree of operators as JSON.

    [{"type": "input", "size": [32, 32]},
     {"type": "convolution", "inputs": 3, "outputs": 64, "kernel": 3, "padding": 1},
     {"type": "norm", "kind": "batch", "width": 64},
     {"type": "activation", "kind": "relu", "width": 64},
     {"type": "pool", "width": 64, "kernel": 2},
     {"type": "flatten"},
     {"type": "linear", "inputs": 16384, "outputs": 10}]

Each item has a `type` and the fields of that type; `repeat` stands for as many equal copies and
`name` names it. `block` holds a list of its own (`layers`) and may be a `layer` (the unit of
pipelines and recomputation), `shared` among its repeats, `frozen`, a mixture of `experts`
(`{"count": 8, "active": 2}`), or run on `positions` of its own. `self_attention`, `gated_mlp` and
`mlp` stand for the common blocks of transformers. A network with a token embedding runs on the
request's sequence; one with an `input` size runs on that many positions; any other on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any

from service.core import parameters
from service.core.architecture.families.config import LIMITS, Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    attention,
    gated_mlp,
    plain_mlp,
)
from service.core.architecture.network import Block, Network, Routing
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
_TYPES = {operator: name for name, operator in OPERATORS.items()}
_BLOCKS = ("block", "self_attention", "gated_mlp", "mlp", "input", "flatten")
KINDS = (*OPERATORS, *_BLOCKS)
"""Every `type` that an item may have."""
MAXIMUM_ITEMS = 50_000
MAXIMUM_DEPTH = 32

_SPATIAL = frozenset(("stride", "padding", "size"))
_COMMON = frozenset(("type", "name", "repeat"))
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"linear": {"bias": True}}


@dataclass
class _State:
    """Where in the document we are: the spatial size of the data, and how much has been read."""

    size: tuple[int, ...] | None = None
    items: int = 0
    tokens: bool = False
    rows: int = 0
    width: int = 0

    def stream(self) -> Stream | None:
        """The positions of the data, where an `input` has set them."""
        return None if self.size is None else fixed(float(math.prod(self.size)))


def build(document: Sequence[Any], name: str = "", field: str = "layers") -> Network:
    """The network of a list of layers. Raises ConfigError with the path of the field."""
    if not isinstance(document, list | tuple):
        raise ConfigError(field, "layers must be a list")
    state = _State()
    children = _children(document, field, state, 0)
    root = Block("model", children, stream=None if state.tokens else fixed(1.0))
    network = Network(
        name, "layers", root, state.rows, state.width, causal=state.tokens, tokens=state.tokens
    )
    if not parameters.count(network).total:
        raise ConfigError(field, "no layer here holds a parameter")
    return network


def _children(
    document: Sequence[Any], path: str, state: _State, depth: int
) -> tuple[Block | Operator, ...]:
    if depth > MAXIMUM_DEPTH:
        raise ConfigError(path, f"blocks may be nested {MAXIMUM_DEPTH} deep at most")
    found: list[Block | Operator] = []
    for index, item in enumerate(document):
        state.items += 1
        where = f"{path}.{index}"
        if state.items > MAXIMUM_ITEMS:
            raise ConfigError(where, f"at most {MAXIMUM_ITEMS} layers; use repeat")
        if not isinstance(item, Mapping):
            raise ConfigError(where, "a layer must be an object with a type")
        found.extend(_item(Config(item, path=where), state, depth))
    return tuple(found)


def _item(item: Config, state: _State, depth: int) -> tuple[Block | Operator, ...]:
    kind = item.text("type")
    if kind == "input":
        state.size = _sizes(item, "size", {"type", "size"})
        return ()
    if kind == "flatten":
        _only(item, set())
        state.size = (1,)
        return ()
    repeat = item.integer("repeat", 1, LIMITS["layers"]) if "repeat" in item.data else 1
    before = state.size
    made = _made(item, kind, state, depth)
    if repeat > 1 and state.size != before:
        raise ConfigError(item.where("repeat"), "a layer that changes the size cannot be repeated")
    if kind == "block":
        return (replace(made, repeat=repeat),) if isinstance(made, Block) else (made,)
    stream = state.stream()
    if repeat == 1 and stream is None:
        return (made,)
    name = made.name
    inner = made.children if isinstance(made, Block) else (made,)
    return (Block(name, inner, repeat=repeat, stream=stream),)


def _made(item: Config, kind: str, state: _State, depth: int) -> Block | Operator:
    if kind == "block":
        return _block(item, state, depth)
    if kind in _SHORT:
        return _SHORT[kind](item)
    if kind not in OPERATORS:
        known = ", ".join(sorted(KINDS))
        raise ConfigError(item.where("type"), f"type {kind[:60]!r} is not one of {known}")
    operator = _operator(item, kind, state)
    if isinstance(operator, Embedding) and operator.input:
        state.tokens, state.rows, state.width = True, operator.rows, operator.width
    return operator


def _block(item: Config, state: _State, depth: int) -> Block:
    allowed = {"layers", "shared", "layer", "frozen", "reused", "alias", "positions", "experts"}
    _only(item, allowed)
    inner = item.data.get("layers")
    if not isinstance(inner, list | tuple):
        raise ConfigError(item.where("layers"), "layers must be a list")
    stream = _stream(item, "positions")
    state.tokens = state.tokens or (stream is not None and stream.per_token > 0)
    children = _children(inner, item.where("layers"), state, depth + 1)
    return Block(
        item.text("name", "block"),
        children,
        shared=item.flag("shared"),
        layer=item.flag("layer"),
        frozen=item.flag("frozen"),
        reused=item.flag("reused"),
        alias=item.flag("alias"),
        stream=stream,
        routing=_routing(item),
    )


def _stream(item: Config, name: str) -> Stream | None:
    value = item.get(name)
    if value is None:
        return None
    if value == "tokens":
        return TOKENS
    if isinstance(value, Mapping):
        section = item.section(name, {"fixed": 0, "per_token": 0})
        return Stream(section.number("fixed", 0, 1e9), section.number("per_token", 0, 1e3))
    return fixed(item.number(name, 0, 1e9))


def _routing(item: Config) -> Routing | None:
    if item.get("experts") is None:
        return None
    experts = item.section("experts")
    count = experts.integer("count", 1, 100_000)
    return Routing(count, experts.number("active", 0, count))


def _operator(item: Config, kind: str, state: _State) -> Operator:
    operator = OPERATORS[kind]
    own = {field.name: field for field in fields(operator)}
    spatial = kind in ("convolution", "pool")
    _only(item, {*own} | (_SPATIAL | {"kernel"} if spatial else set()))
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


def _placed(item: Config, state: _State) -> dict[str, Any]:
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
        return _stream(item, name)
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


def _sizes(item: Config, name: str, allowed: set[str]) -> tuple[int, ...]:
    _only(item, allowed)
    size = _shape(item, name, item.get(name))
    if not 1 <= len(size) <= 3 or min(size) < 1:
        raise ConfigError(item.where(name), f"{name} must hold one to three sizes above 0")
    return size


def _only(item: Config, allowed: set[str] | frozenset[str]) -> None:
    unknown = sorted(set(item.data) - allowed - _COMMON)
    if unknown:
        known = ", ".join(sorted(allowed | _COMMON))
        raise ConfigError(item.where(unknown[0]), f"unknown field; a layer here takes {known}")


def _self_attention(item: Config) -> Block:
    _only(
        item,
        {"hidden", "heads", "key_value_heads", "head_dim", "bias", "rotary", "causal", "window"},
    )
    hidden, heads = item.integer("hidden"), item.integer("heads")
    shape = AttentionShape(
        hidden,
        heads,
        item.optional("key_value_heads", 1) or heads,
        item.optional("head_dim", 1) or hidden // heads,
        bias=item.flag("bias"),
        output_bias=item.flag("bias"),
        rotary=item.flag("rotary") if "rotary" in item.data else True,
        causal=item.flag("causal") if "causal" in item.data else True,
        window=item.optional("window", 1),
    )
    return attention(shape)


def _gated_mlp(item: Config) -> Block:
    _only(item, {"hidden", "intermediate", "activation", "bias"})
    sizes = item.integer("hidden"), item.integer("intermediate")
    return gated_mlp(*sizes, item.text("activation", "silu"), item.flag("bias"))


def _mlp(item: Config) -> Block:
    _only(item, {"hidden", "intermediate", "activation", "bias"})
    bias = item.flag("bias") if "bias" in item.data else True
    sizes = item.integer("hidden"), item.integer("intermediate")
    return plain_mlp(*sizes, item.text("activation", "gelu"), bias)


_SHORT: Mapping[str, Callable[[Config], Block]] = {
    "self_attention": _self_attention,
    "gated_mlp": _gated_mlp,
    "mlp": _mlp,
}


def to_document(network: Network) -> list[dict[str, Any]]:
    """The layers document of any network: `build` of it gives an equal tree."""
    children = [_written(child) for child in network.root.children]
    if network.tokens and network.input_embedding() is None:
        return [{"type": "block", "name": "model", "positions": "tokens", "layers": children}]
    return children


def _written(node: Block | Operator) -> dict[str, Any]:
    if not isinstance(node, Block):
        kind = _TYPES[type(node)]
        return {"type": kind} | _changed(node) | _explicit(node, kind)
    routing = node.routing
    flags = {n: True for n in ("shared", "layer", "frozen", "reused", "alias") if getattr(node, n)}
    return (
        {"type": "block", "name": node.name}
        | ({"repeat": node.repeat} if node.repeat > 1 else {})
        | flags
        | ({"positions": node.stream._asdict()} if node.stream else {})
        | ({"experts": {"count": routing.count, "active": routing.active}} if routing else {})
        | {"layers": [_written(child) for child in node.children]}
    )


def _changed(node: Operator) -> dict[str, Any]:
    """The fields that differ from the operator's defaults, as JSON."""
    found = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.default is MISSING or value != field.default:
            found[field.name] = value._asdict() if isinstance(value, Stream) else value
    return found


def _explicit(node: Operator, kind: str) -> dict[str, Any]:
    """Fields whose default in a document differs from the operator's own."""
    explicit: dict[str, Any] = {}
    if isinstance(node, Linear) or (isinstance(node, Norm) and node.kind != "rms"):
        explicit["bias"] = node.bias
    if isinstance(node, Convolution | Pool):
        explicit["input_positions"] = node.input_positions
    if kind == "pool":
        explicit["kernel"] = 1
    return explicit
