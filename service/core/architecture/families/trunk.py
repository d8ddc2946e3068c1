"""The frame of a causal language model: how its config is read, its layers run, its ends made.

A family says what one layer is; this module strings equal layers together, puts the embedding
before them and the norm and the head after them, and reads what nearly every config.json names
alike.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

from service.core.architecture.families.config import Config, ConfigError, UnknownArchitecture
from service.core.architecture.families.decoder import AttentionShape, Children, head, layer
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear, Operator, Split
from service.core.architecture.tree import Block

Kind = TypeVar("Kind")

FORMATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
FULL, SLIDING = "full_attention", "sliding_attention"
_RENAMED = {"attention": FULL, "mamba": "linear_attention"}


def read(
    config: Config,
    defaults: Mapping[str, Any],
    aliases: Mapping[str, str] | None = None,
    drop: Collection[str] = (),
) -> Config:
    """The config with the family's defaults, and other names of a field put to its own name.

    `drop`: fields that the family reads itself before.
    """
    if config.data.get("per_layer_config") and "per_layer_config" not in drop:
        raise UnknownArchitecture(
            config.where("per_layer_config"), "per_layer_config is not handled; remove it"
        )
    given = {name: value for name, value in config.data.items() if name not in drop}
    found = {own: given[other] for other, own in (aliases or {}).items() if other in given}
    return Config({**given, **found}, defaults, config.path)


def refuse(config: Config, name: str, allowed: str) -> UnknownArchitecture:
    """The error for a field whose value this family does not handle."""
    shown = reprlib.repr(config.get(name))[:80]
    return UnknownArchitecture(
        config.where(name), f"{name} = {shown} is not handled here (handled: {allowed})"
    )


def agree(config: Config, name: str, value: int) -> None:
    """Refuse a field that the class works out itself where the file states another value."""
    if (config.optional(name, 1) or value) != value:
        raise refuse(config, name, f"{value}, as the other fields have it")


def ties(config: Config) -> bool:
    """`tie_word_embeddings`, true where the file has none."""
    return config.get("tie_word_embeddings") is None or config.flag("tie_word_embeddings")


def probability(config: Config, name: str) -> float:
    """A dropout probability; absent counts as 0."""
    return 0.0 if config.get(name) is None else config.number(name, 0.0, 1.0)


def head_width(config: Config, hidden: int, heads: int, name: str = "num_attention_heads") -> int:
    """The width of one head, for families whose heads must fill the hidden width."""
    if hidden % heads:
        raise ConfigError(config.where(name), f"{name} must divide the hidden size")
    return hidden // heads


def unmasked(config: Config, hidden: int, heads: int, **changes: Any) -> AttentionShape:
    """Attention of an encoder: every position meets every other; biases, no rotation."""
    width = head_width(config, hidden, heads)
    shape = AttentionShape(hidden, heads, heads, width, bias=True, output_bias=True)
    return replace(shape, rotary=False, causal=False, **changes)


def grouped(config: Config, **changes: Any) -> AttentionShape:
    """Grouped-query attention from the names that nearly every config uses."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if heads > hidden:
        raise ConfigError(
            config.where("num_attention_heads"), "num_attention_heads exceeds hidden_size"
        )
    head_dim = config.optional("head_dim", 1) or hidden // heads
    shape = AttentionShape(
        hidden,
        heads,
        config.optional("num_key_value_heads", 1) or heads,
        head_dim,
        dropout=probability(config, "attention_dropout"),
    )
    return replace(shape, **changes)


def filling(config: Config, **changes: Any) -> AttentionShape:
    """Grouped-query attention whose heads fill the hidden width, whatever `head_dim` says."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    return grouped(config, head_dim=head_width(config, hidden, heads), **changes)


def kinds(
    config: Config,
    default: Callable[[int], str],
    known: Collection[str] = (FULL, SLIDING),
    name: str = "layer_types",
    count: str = "num_hidden_layers",
) -> list[str]:
    """What each layer is: the list in the config, or else the family's own pattern."""
    layers = config.layers(count)
    given = config.sequence(name)
    if config.get(name) is None:
        return [default(index) for index in range(layers)]
    if len(given) != layers:
        raise ConfigError(config.where(name), f"{name} must have one item for each layer")
    found = [_RENAMED.get(item, item) if isinstance(item, str) else "" for item in given]
    for item, kind in zip(given, found, strict=True):
        if kind not in known:
            allowed = ", ".join(sorted(known))
            raise UnknownArchitecture(
                config.where(name), f"{name} holds {reprlib.repr(item)}, not one of {allowed}"
            )
    return found


def runs(sequence: Sequence[Kind], make: Callable[[Kind], Children]) -> Children:
    """Layers in order, consecutive equal ones as one repeated block."""
    made: dict[Kind, Children] = {}
    blocks = []
    for kind, members in groupby(sequence):
        if kind not in made:
            made[kind] = make(kind)
        blocks.append(layer(*made[kind], repeat=sum(1 for _ in members)))
    return tuple(blocks)


def causal_lm(
    config: Config,
    hidden: int,
    layers: Children,
    norm: Operator | None,
    *,
    width: int | None = None,
    before: Children = (),
    after: Children = (),
    head_bias: bool = False,
    head_rows: int | None = None,
    ties: bool = True,
    names: tuple[str, str] = ("embed_tokens", "lm_head"),
    limit: str = "max_position_embeddings",
) -> Network:
    """Embedding, layers, final norm and head.

    `width`: of the embedding where it is not `hidden`. `before` and `after`: what else stands
    between the embedding and the layers, and between the final norm and the head. `ties`: whether
    the class heeds `tie_word_embeddings` at all.
    """
    rows, width = config.rows("vocab_size"), width or hidden
    table = Embedding(names[0], rows, width, Split.TENSOR, input=True)
    root = (
        Block("embedding", (table, *before)),
        *layers,
        *((Block("norm", (norm,)),) if norm else ()),
        *after,
        *_head(config, (width, head_rows or rows), ties, head_bias, names[1]),
    )
    return Network(
        "",
        config.text("model_type"),
        Block("model", root),
        rows,
        hidden,
        config.optional(limit, 1, 1 << 40),
        stored=stored_format(config),
    )


def named_class(config: Config) -> str:
    """The class that `architectures` names first; empty where it names none."""
    named = config.sequence("architectures")
    return named[0] if named and isinstance(named[0], str) else ""


def _head(config: Config, size: tuple[int, int], ties: bool, bias: bool, name: str) -> Children:
    """What the class named in `architectures` puts on top; a language model's head by default."""
    kind = named_class(config)
    if kind.endswith(("ForSequenceClassification", "ForTokenClassification")):
        bias = kind.endswith("ForTokenClassification")
        return (Block("head", (Linear("score", size[0], labels(config), bias),)),)
    if kind.endswith("Model") and not kind.endswith("HeadModel"):
        return ()
    if kind.endswith(("ForQuestionAnswering", "HeadsModel", "ForMultipleChoice", "RewardModel")):
        raise refuse(config, "architectures", "ForCausalLM, ForSequenceClassification")
    return (head(*size, ties and config.flag("tie_word_embeddings"), bias, name),)


def labels(config: Config) -> int:
    """The number of classes of a classification head (2 where the config says nothing)."""
    names = config.data.get("id2label")
    if isinstance(names, Mapping):
        return len(names)
    return config.integer("num_labels") if config.get("num_labels") is not None else 2


def stored_format(config: Config) -> str:
    """The number format of the stored weights; bf16 where the config says nothing."""
    named = config.data.get("dtype") or config.data.get("torch_dtype")
    if not isinstance(named, str):
        return "bf16"
    return FORMATS.get(named.removeprefix("torch."), "bf16")


def window(config: Config) -> int | None:
    """`sliding_window` in tokens; None where it is off."""
    return config.optional("sliding_window", 0, 1 << 40) or None
