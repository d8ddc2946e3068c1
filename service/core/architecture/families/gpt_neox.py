"""Decoders of EleutherAI and their kin: attention and feed-forward side by side.

gptj (Wang and Komatsuzaki 2021), codegen (Nijkamp et al. 2022, arXiv 2203.13474), gpt_neo (Black et
al. 2021), gpt_neox (Black et al. 2022, arXiv 2204.06745), gpt_neox_japanese. Defaults are those of
transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    plain_mlp,
)
from service.core.architecture.families.dense import dense, parallel, plain, pre_norm
from service.core.architecture.families.gpt2 import GPT2, NAMES, mlp_of, shape_of
from service.core.architecture.families.trunk import (
    causal_lm,
    filling,
    head_width,
    probability,
    read,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm, Parameter

GPTJ = GPT2 | {
    "vocab_size": 50400,
    "n_positions": 2048,
    "n_embd": 4096,
    "n_layer": 28,
    "n_head": 16,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "tie_word_embeddings": False,
}
NEO = {
    "vocab_size": 50257,
    "max_position_embeddings": 2048,
    "hidden_size": 2048,
    "num_layers": 24,
    "num_heads": 16,
    "window_size": 256,
    "activation_function": "gelu_new",
    "attention_types": [[["global", "local"], 12]],
    "tie_word_embeddings": True,
}
NEOX = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24576,
    "hidden_act": "gelu",
    "attention_bias": True,
    "use_parallel_residual": True,
    "max_position_embeddings": 2048,
}
JAPANESE = NEOX | {
    "vocab_size": 32000,
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_multiple_size": 4,
    "attention_dropout": 0.1,
    "tie_word_embeddings": True,
}
FUSED = ("", "", "", "dense")
WIDE = ("dense_h_to_4h", "dense_4h_to_h")


def gptj(config: Config) -> Network:
    """GPTJForCausalLM: attention without biases, a head with one."""
    config = read(config, GPTJ, NAMES)
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    shape = shape_of(config, fused=None, names=names, bias=False, output_bias=False, rotary=True)
    return _gptj(config, shape)


def codegen(config: Config) -> Network:
    """CodeGenForCausalLM: GPT-J with one projection for queries, keys and values."""
    config = read(config, GPTJ, NAMES)
    names = ("", "", "", "out_proj")
    shape = shape_of(
        config, fused="qkv_proj", names=names, bias=False, output_bias=False, rotary=True
    )
    return _gptj(config, shape)


def _gptj(config: Config, shape: AttentionShape) -> Network:
    return dense(
        config,
        shape,
        mlp_of(config, names=("fc_in", "fc_out")),
        arrange=parallel,
        norm=Norm("ln_f", shape.hidden, "layer", bias=True),
        layers="n_layer",
        before=dropped(shape.hidden, probability(config, "embd_pdrop")),
        head_bias=True,
        names=("wte", "lm_head"),
        limit="n_positions",
    )


def gpt_neo(config: Config) -> Network:
    """GPTNeoForCausalLM: every other layer attends to a window only."""
    aliases = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    config = read(config, NEO, aliases)
    hidden, heads = config.integer("hidden_size"), config.integer("num_heads")
    dropout = probability(config, "resid_dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "num_heads"),
        output_bias=True,
        rotary=False,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )
    inner = config.optional("intermediate_size", 1) or 4 * hidden
    activation = config.text("activation_function")
    positions = Embedding("wpe", config.rows("max_position_embeddings"), hidden)
    return dense(
        config,
        shape,
        plain_mlp(hidden, inner, activation, names=("c_fc", "c_proj"), dropout=dropout),
        norm=Norm("ln_f", hidden, "layer", bias=True),
        windows=_neo_windows(config),
        before=(positions, *dropped(hidden, probability(config, "embed_dropout"))),
        names=("wte", "lm_head"),
    )


def _neo_windows(config: Config) -> list[int | None]:
    layers, size = config.layers("num_layers"), config.integer("window_size")
    found: list[int | None] = []
    for item in config.sequence("attention_types"):
        match item:
            case [list(kinds), int(times)] if 0 < times * len(kinds) <= layers - len(found):
                windows = [size if kind == "local" else None for kind in kinds]
                found.extend(windows * times)
            case _:
                break
    if len(found) != layers:
        raise ConfigError(
            config.where("attention_types"), "attention_types must describe num_layers layers"
        )
    return found


def gpt_neox(config: Config) -> Network:
    """GPTNeoXForCausalLM."""
    config = read(config, NEOX)
    bias, dropout = config.flag("attention_bias"), probability(config, "hidden_dropout")
    shape = filling(
        config,
        key_value_heads=config.integer("num_attention_heads"),
        bias=bias,
        output_bias=bias,
        fused="query_key_value",
        names=FUSED,
        residual_dropout=dropout,
    )
    return dense(
        config,
        shape,
        plain(config, True, WIDE, dropout=dropout),
        norm=Norm("final_layer_norm", shape.hidden, "layer", bias=True),
        before=dropped(shape.hidden, dropout),
        names=("embed_in", "lm_head"),
    )


def gpt_neox_japanese(config: Config) -> Network:
    """GPTNeoXJapaneseForCausalLM: one bias, after the last layer's attention."""
    config = read(config, JAPANESE)
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    shape = filling(
        config,
        key_value_heads=config.integer("num_attention_heads"),
        fused="query_key_value",
        names=FUSED,
    )
    last = replace(shape, extra=(Parameter("dense_bias", (hidden,)),))
    inner = int(hidden * config.number("intermediate_multiple_size", 0.01, 1000))
    mlp = plain_mlp(hidden, inner, config.text("hidden_act"), bias=False, names=WIDE)
    norm = Norm("final_layer_norm", hidden, "layer", bias=True)

    def make(index: int) -> Children:
        return pre_norm(norm, attention(last if index else shape), mlp)

    blocks = runs([int(index == layers - 1) for index in range(layers)], make)
    return causal_lm(config, hidden, blocks, norm, names=("embed_in", "embed_out"))


FAMILIES = {
    "codegen": codegen,
    "gpt_neo": gpt_neo,
    "gpt_neox": gpt_neox,
    "gpt_neox_japanese": gpt_neox_japanese,
    "gptj": gptj,
}
