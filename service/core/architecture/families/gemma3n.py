"""The later Gemma line: per-layer embeddings, shared keys and values.

gemma3n (Google 2025; MatFormer, arXiv 2310.07707, alternating updates, 2301.13310, LAuReL,
2411.07501) and gemma4 (Google 2026), text parts. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
)
from service.core.architecture.families.dense import biased, every, sandwich
from service.core.architecture.families.experts import routed
from service.core.architecture.families.gemma import GEMMA3
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    kinds,
    read,
    refuse,
    runs,
    window,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.tree import Block, Routing

GEMMA3N = GEMMA3 | {
    "vocab_size": 262400,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 35,
    "num_key_value_heads": 2,
    "sliding_window": 512,
    "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "altup_num_inputs": 4,
    "num_kv_shared_layers": 15,
    "laurel_rank": 64,
    "max_position_embeddings": 32768,
}
GEMMA4 = GEMMA3 | {
    "vocab_size": 262144,
    "num_hidden_layers": 30,
    "sliding_window": 512,
    "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "global_head_dim": 512,
    "num_kv_shared_layers": 0,
}


def _attention(shape: AttentionShape, reuses: bool, values: bool = True) -> Block:
    """Attention whose keys and values may be an earlier layer's, or values the keys."""
    unscaled = Norm("v_norm", shape.head_dim, weight=False, copies=shape.key_value_heads)
    block = attention(shape)
    dropped = {"v_proj"} if not values else set()
    if reuses:
        dropped = {"k_proj", "v_proj", "k_norm"}
    children: list[Block | Operator] = []
    for child in block.children:
        if child.name in dropped:
            continue
        if isinstance(child, Attention):
            children += [] if reuses else [unscaled]
            child = replace(child, shares_cache=reuses)
        children.append(child)
    return Block("attention", tuple(children))


def _per_layer(hidden: int, width: int, activation: str) -> Children:
    """What a layer does with its own slice of the per-layer embedding."""
    children: Children = (
        Linear("per_layer_input_gate", hidden, width),
        Activation("act", width, activation, gated=True),
        Linear("per_layer_projection", width, hidden),
        Norm("post_per_layer_input_norm", hidden),
    )
    return (Block("per_layer", children),)


def _tables(config: Config, hidden: int, width: int) -> Children:
    """The per-layer embedding, one table for all layers, and its projection."""
    total = config.layers("num_hidden_layers") * width
    rows = config.rows("vocab_size_per_layer_input")
    return (
        Embedding("embed_tokens_per_layer", rows, total, Split.TENSOR),
        Linear("per_layer_model_projection", hidden, total),
        Norm("per_layer_projection_norm", width, copies=max(total // width, 1)),
    )


def _shared_from(config: Config) -> int:
    """The first layer that reuses keys and values."""
    layers, shared = config.layers("num_hidden_layers"), config.integer("num_kv_shared_layers", 0)
    if shared and shared >= layers:
        raise ConfigError(
            config.where("num_kv_shared_layers"), "num_kv_shared_layers must leave a layer"
        )
    return layers - shared


def gemma3n(config: Config) -> Network:
    """Gemma3nForCausalLM: four streams of which one is computed, and low-rank side paths."""
    config = read(config, GEMMA3N)
    hidden, width = config.integer("hidden_size"), config.integer("hidden_size_per_layer_input")
    shape = biased(config, head_norm=Norm("norm", 0))
    found, size, first = kinds(config, every(5)), window(config), _shared_from(config)
    widths, streams = _widths(config, len(found)), config.integer("altup_num_inputs", 1, 100)
    norm, activation = Norm("norm", hidden), config.text("hidden_activation")
    extra = (*_altup(config, hidden, streams), *_per_layer(hidden, width, activation))

    def make(kind: tuple[str, bool, int]) -> Children:
        at = replace(shape, window=size if kind[0] == SLIDING else None)
        mlp = gated_mlp(hidden, kind[2], activation)
        return (*sandwich(norm, _attention(at, kind[1]), mlp), *extra)

    layers = [(kind, index >= first, widths[index]) for index, kind in enumerate(found)]
    one = (Linear("projection", hidden, hidden),)
    before: Children = (
        *_tables(config, hidden, width),
        Block("altup_projections", one, repeat=streams - 1),
    )
    after: Children = (Block("altup_unembed_projections", one, repeat=streams - 1),)
    if streams == 1:
        before, after = before[:-1], ()
    return causal_lm(config, hidden, runs(layers, make), norm, before=before, after=after)


def _widths(config: Config, layers: int) -> Sequence[int]:
    """The feed-forward's width in each layer: one for all or a list."""
    given = config.get("intermediate_size")
    if not isinstance(given, list):
        return [config.integer("intermediate_size")] * layers
    if len(given) != layers:
        raise ConfigError(
            config.where("intermediate_size"), "intermediate_size must have one item for each layer"
        )
    items = [Config({"intermediate_size": item}, path=config.path) for item in given]
    return [item.integer("intermediate_size") for item in items]


def _altup(config: Config, hidden: int, streams: int) -> Children:
    rank = config.integer("laurel_rank")
    altup: Children = (
        Parameter("correct_output_scale", (hidden,)),
        Linear("correction_coefs", streams, streams),
        Linear("prediction_coefs", streams, streams**2),
        Linear("modality_router", hidden, streams),
        Norm("router_norm", hidden),
    )
    laurel: Children = (
        Linear("linear_left", hidden, rank),
        Linear("linear_right", rank, hidden),
        Norm("post_laurel_norm", hidden),
    )
    return (Block("altup", altup), Block("laurel", laurel))


@dataclass(frozen=True)
class _Kind:
    full: bool
    reuses: bool


def gemma4(config: Config) -> Network:
    """Gemma4ForCausalLM: full layers have wider heads; mixtures beside the feed-forward."""
    overrides = config.data.get("per_layer_config")
    config = read(config, GEMMA4, drop=("per_layer_config",))
    hidden, width = config.integer("hidden_size"), config.integer("hidden_size_per_layer_input", 0)
    found = kinds(config, every(6))
    found[-1:] = [FULL] * len(found[-1:])
    first, norm = _shared_from(config), Norm("norm", hidden)
    sliding = biased(config, head_norm=Norm("norm", 0), window=window(config))
    full, same = _global(config, sliding, found, overrides), config.flag("attention_k_eq_v")
    activation, inner = config.text("hidden_activation"), config.integer("intermediate_size")
    wide = 2 if config.flag("use_double_wide_mlp") else 1
    extra = _per_layer(hidden, width, activation) if width else ()
    moe = _mixture(config, norm) if config.flag("enable_moe_block") else ()

    def make(kind: _Kind) -> Children:
        shape = full if kind.full else sliding
        block = _attention(shape, kind.reuses, not (same and kind.full))
        mlp = gated_mlp(hidden, inner * (wide if kind.reuses else 1), activation)
        return (*sandwich(norm, block, mlp), *moe, *extra)

    layers = [_Kind(kind == FULL, index >= first) for index, kind in enumerate(found)]
    before = _tables(config, hidden, width) if width else ()
    return causal_lm(config, hidden, runs(layers, make), norm, before=before)


def _global(
    config: Config, sliding: AttentionShape, found: Sequence[str], overrides: Any
) -> AttentionShape:
    """The shape of the full layers, from its own fields or from overrides of those layers."""
    given: dict[str, Any] = {
        "head_dim": config.get("global_head_dim"),
        "num_key_value_heads": config.get("num_key_value_heads"),
    }
    if config.flag("attention_k_eq_v") and config.get("num_global_key_value_heads") is not None:
        given["num_key_value_heads"] = config.get("num_global_key_value_heads")
    if overrides is not None:
        given = _overrides(config, found, overrides)
    inside = Config(given, config.defaults, config.path)
    return replace(
        sliding,
        window=None,
        head_dim=inside.integer("head_dim"),
        key_value_heads=inside.integer("num_key_value_heads"),
    )


def _overrides(config: Config, found: Sequence[str], overrides: Any) -> dict[str, Any]:
    full = {index for index, kind in enumerate(found) if kind == FULL}
    items = list(overrides.values()) if isinstance(overrides, Mapping) else []
    alike = bool(items) and all(item == items[0] for item in items)
    known = {"head_dim", "num_key_value_heads"}
    if (
        not alike
        or {int(key) for key in overrides if str(key).isdecimal()} != full
        or not isinstance(items[0], Mapping)
        or not set(items[0]) <= known
    ):
        raise refuse(
            Config({"per_layer_config": overrides}), "per_layer_config", "alike full layers"
        )
    return {"num_key_value_heads": config.get("num_key_value_heads"), **items[0]}


def _mixture(config: Config, norm: Norm) -> Children:
    hidden, inner = norm.width, config.integer("moe_intermediate_size")
    count, active = routed(config, "num_experts", "top_k_experts")
    router: Children = (
        replace(norm, weight=False),
        Linear("proj", hidden, count),
        Parameter("scale", (hidden,)),
        Parameter("per_expert_scale", (count,)),
    )
    expert = gated_mlp(hidden, inner, config.text("hidden_activation"))
    names = ("feedforward_layernorm_1", "feedforward_layernorm_2", "pre_feedforward_layernorm_2")
    return (
        Block("router", router),
        Block("experts", expert.children, routing=Routing(count, active)),
        *(replace(norm, name=name) for name in names),
    )


FAMILIES = {"gemma3n_text": gemma3n, "gemma4_text": gemma4}
