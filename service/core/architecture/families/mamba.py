"""Networks of state-space layers only, and other recurrences.

mamba (Gu and Dao 2023, arXiv 2312.00752), falcon_mamba (2410.05355), mamba2 (2405.21060), rwkv
(Peng et al. 2023, 2305.13048), recurrent_gemma (2402.19427), xlstm (2405.04517). Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, attention, gated_mlp
from service.core.architecture.families.mixers import Dual, Selective, depthwise, mamba, mamba2
from service.core.architecture.families.trunk import (
    causal_lm,
    grouped,
    read,
    refuse,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Linear, Norm, Parameter, Scan
from service.core.architecture.tree import Block

MAMBA = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "expand": 2,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "time_step_rank": "auto",
    "tie_word_embeddings": True,
}
MAMBA2 = {
    "vocab_size": 32768,
    "hidden_size": 4096,
    "num_heads": 128,
    "head_dim": 64,
    "state_size": 128,
    "num_hidden_layers": 64,
    "expand": 2,
    "conv_kernel": 4,
    "n_groups": 8,
    "use_conv_bias": True,
    "chunk_size": 256,
}
RWKV = {
    "vocab_size": 50277,
    "context_length": 1024,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
}
RECURRENT_GEMMA = {
    "vocab_size": 256000,
    "hidden_size": 2560,
    "intermediate_size": 7680,
    "num_hidden_layers": 26,
    "num_attention_heads": 10,
    "attention_window_size": 2048,
    "conv1d_width": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "block_types": ("recurrent", "recurrent", "attention"),
    "tie_word_embeddings": True,
}
XLSTM = {
    "vocab_size": 50304,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_heads": 8,
    "qk_dim_factor": 0.5,
    "v_dim_factor": 1.0,
    "ffn_proj_factor": 2.667,
    "ffn_round_up_to_multiple_of": 64,
    "chunk_size": 64,
}
EMBEDDED = ("embeddings", "lm_head")


def expanded(config: Config, hidden: int, field: str = "expand") -> int:
    """The inner width: a factor times the hidden one."""
    return int(hidden * config.number(field, 0.01, 1000.0))


def step_rank(config: Config, hidden: int, field: str = "time_step_rank") -> int:
    """The rank of the time step; a sixteenth of the hidden width where it is `auto`."""
    return ceil(hidden / 16) if config.get(field) == "auto" else config.integer(field)


def mamba_lm(config: Config, norms: tuple[bool, bool] = (False, False)) -> Network:
    """MambaForCausalLM."""
    config = read(config, MAMBA)
    hidden = config.integer("hidden_size")
    sizes = Selective(
        hidden,
        config.optional("intermediate_size", 1) or expanded(config, hidden),
        config.integer("state_size"),
        step_rank(config, hidden),
        config.integer("conv_kernel"),
        config.flag("use_conv_bias"),
        config.flag("use_bias"),
        norms,
    )
    return _plain(config, hidden, mamba(sizes))


def falcon_mamba(config: Config) -> Network:
    """FalconMambaForCausalLM: time step, B and C normalised without weights."""
    return mamba_lm(config, (True, False))


def mamba2_lm(config: Config) -> Network:
    """Mamba2ForCausalLM."""
    config = read(config, MAMBA2)
    hidden, heads = config.integer("hidden_size"), config.integer("num_heads")
    inner = expanded(config, hidden)
    if inner != heads * config.integer("head_dim"):
        raise ConfigError(
            config.where("num_heads"), "num_heads * head_dim must be expand * hidden_size"
        )
    sizes = Dual(
        hidden,
        inner,
        heads,
        config.integer("n_groups"),
        config.integer("state_size"),
        config.integer("conv_kernel"),
        config.integer("chunk_size"),
        config.flag("use_conv_bias"),
        config.flag("use_bias"),
    )
    return _plain(config, hidden, mamba2(sizes))


def _plain(config: Config, hidden: int, mixer: Block) -> Network:
    norm = Norm("norm_f", hidden)
    layer: Children = (replace(norm, name="norm"), mixer)
    blocks = runs([None] * config.layers("num_hidden_layers"), lambda _: layer)
    return causal_lm(config, hidden, blocks, norm, names=EMBEDDED)


def rwkv(config: Config) -> Network:
    """RwkvForCausalLM (version 4): the first layer has one norm more."""
    config = read(config, RWKV, {"max_position_embeddings": "context_length"})
    hidden = config.integer("hidden_size")
    inner = config.optional("intermediate_size", 1) or 4 * hidden
    norm = Norm("ln_out", hidden, "layer", bias=True)
    layer = (
        replace(norm, name="ln1"),
        _time_mix(hidden, config.optional("attention_hidden_size", 1) or hidden),
        replace(norm, name="ln2"),
        _channel_mix(hidden, inner),
    )
    first = (replace(norm, name="pre_ln"), *layer)
    kinds = [index == 0 for index in range(config.layers("num_hidden_layers"))]
    blocks = runs(kinds, lambda kind: first if kind else layer)
    names = ("embeddings", "head")
    return causal_lm(config, hidden, blocks, norm, names=names, limit="context_length")


def _time_mix(hidden: int, width: int) -> Block:
    mixes = tuple(Parameter(f"time_mix_{name}", (1, 1, hidden)) for name in ("k", "v", "r"))
    children: Children = (
        *mixes,
        Linear("key", hidden, width, split="column"),
        Linear("value", hidden, width, split="column"),
        Linear("receptance", hidden, width, split="column"),
        Scan("scan", "rwkv", width, 3.0 * width + hidden, shapes=((width,), (width,))),
        Linear("output", width, hidden, split="row"),
    )
    return Block("attention", children)


def _channel_mix(hidden: int, inner: int) -> Block:
    mixes = tuple(Parameter(f"time_mix_{name}", (1, 1, hidden)) for name in ("key", "receptance"))
    children: Children = (
        *mixes,
        Linear("key", hidden, inner, split="column"),
        Activation("act", inner, "relu2"),
        Linear("receptance", hidden, hidden),
        Linear("value", inner, hidden, split="row"),
        Scan("state", "token_shift", hidden, float(hidden)),
    )
    return Block("feed_forward", children)


def recurrent_gemma(config: Config) -> Network:
    """RecurrentGemmaForCausalLM: two recurrent layers to one of local attention."""
    aliases = {"sliding_window": "attention_window_size"}
    config = read(config, RECURRENT_GEMMA, aliases)
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    shape = grouped(
        config,
        bias=config.flag("attention_bias"),
        output_bias=True,
        window=config.integer("attention_window_size"),
    )
    mixers = {"recurrent": _recurrent(config, hidden, shape.heads), "attention": attention(shape)}
    pattern = config.sequence("block_types")
    if not pattern or not all(isinstance(kind, str) and kind in mixers for kind in pattern):
        raise refuse(config, "block_types", "recurrent, attention")
    inner = config.integer("intermediate_size") // 2
    mlp = gated_mlp(hidden, inner, config.text("hidden_activation"), True)
    norm = Norm("final_norm", hidden)

    def make(kind: str) -> Children:
        before = replace(norm, name="temporal_pre_norm")
        return before, mixers[kind], replace(norm, name="channel_pre_norm"), mlp

    blocks = runs([pattern[index % len(pattern)] for index in range(layers)], make)
    return causal_lm(config, hidden, blocks, norm)


def _recurrent(config: Config, hidden: int, heads: int) -> Block:
    width = config.optional("lru_width", 1) or hidden
    if width % heads:
        raise ConfigError(config.where("lru_width"), "lru_width must be a multiple of the heads")
    head = width // heads
    gates = (Linear("input_gate", head, head, True), Linear("recurrent_gate", head, head, True))
    kernel = config.integer("conv1d_width")
    children: Children = (
        Linear("linear_y", hidden, width, True, "column"),
        Linear("linear_x", hidden, width, True, "column", keeps_input=False),
        depthwise(width, kernel, True, "conv_1d"),
        Block("gates", gates, repeat=heads),
        Scan(
            "rg_lru",
            "rglru",
            width,
            float(width),
            shapes=((width,),),
            conv_state=float(width * (kernel - 1)),
        ),
        Linear("linear_out", width, hidden, True, "row"),
    )
    return Block("recurrent", children)


def xlstm(config: Config) -> Network:
    """XLSTMForCausalLM: matrix memories with exponential gates."""
    aliases = {"num_blocks": "num_hidden_layers"} if config.data.get("num_blocks") else {}
    config = read(config, XLSTM, aliases)
    hidden, bias = config.integer("hidden_size"), config.flag("use_bias")
    if config.optional("embedding_dim") not in (None, hidden):
        raise refuse(config, "embedding_dim", "hidden_size")
    norm = Norm("out_norm", hidden, bias=bias)
    multiple = config.integer("ffn_round_up_to_multiple_of")
    wide = hidden * config.number("ffn_proj_factor", 0.01, 1000.0)
    inner = int((wide + multiple - 1) // multiple * multiple)
    names = ("proj_up_gate", "proj_up", "proj_down")
    layer: Children = (
        replace(norm, name="norm_mlstm"),
        _matrix_memory(config, hidden, bias),
        replace(norm, name="norm_ffn"),
        gated_mlp(hidden, inner, "silu", bias, names=names),
    )
    blocks = runs([None] * config.layers("num_hidden_layers"), lambda _: layer)
    last = replace(norm, bias=False)
    return causal_lm(config, hidden, blocks, last, names=EMBEDDED, ties=False)


def _matrix_memory(config: Config, hidden: int, bias: bool) -> Block:
    heads, chunk = config.integer("num_heads"), config.integer("chunk_size")
    value = int(hidden * config.number("v_dim_factor", 0.001, 1000.0))
    key = int(hidden * config.number("qk_dim_factor", 0.001, 1000.0))
    if value % heads or key % heads:
        raise refuse(config, "num_heads", "a divisor of the widths of keys and values")
    flops = 2.0 * (chunk * (key + value) + 2 * key * value / heads)
    state = key * value / heads + key + heads
    shared: dict[str, Any] = {"bias": bias, "split": "column", "keeps_input": False}
    children: Children = (
        Linear("q", hidden, key, bias, "column"),
        Linear("k", hidden, key, **shared),
        Linear("v", hidden, value, **shared),
        Linear("ogate_preact", hidden, value, **shared),
        Linear("igate_preact", hidden, heads, True, keeps_input=False),
        Linear("fgate_preact", hidden, heads, True, keeps_input=False),
        Scan("mlstm", "linear_attention", value, state, flops),
        Norm("multihead_norm", value, "layer", bias=bias),
        Linear("out_proj", value, hidden, bias, "row"),
    )
    return Block("mlstm_layer", children)


FAMILIES = {
    "falcon_mamba": falcon_mamba,
    "mamba": mamba_lm,
    "mamba2": mamba2_lm,
    "recurrent_gemma": recurrent_gemma,
    "rwkv": rwkv,
    "xlstm": xlstm,
}
