"""Networks whose layers are each of one kind: a state space, a convolution, attention, a mixture.

nemotron_h (NVIDIA 2025, arXiv 2504.03624), lfm2 and lfm2_moe (Liquid AI 2025, 2511.23404). Defaults
are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.core.architecture.families.config import LIMITS, Config, ConfigError
from service.core.architecture.families.decoder import (
    Children,
    attention,
    gated_mlp,
    mixture,
    plain_mlp,
)
from service.core.architecture.families.experts import after, experts, routed
from service.core.architecture.families.mamba import EMBEDDED
from service.core.architecture.families.mixers import (
    Dual,
    mamba2,
    short_convolution,
)
from service.core.architecture.families.trunk import (
    FULL,
    causal_lm,
    grouped,
    kinds,
    read,
    refuse,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear, Norm
from service.core.architecture.tree import Block

LINEAR = "linear_attention"
NEMOTRON = {
    "vocab_size": 131072,
    "hidden_size": 4096,
    "layers_block_type": [LINEAR, "moe", FULL, "mlp"],
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 21504,
    "mlp_hidden_act": "relu2",
    "ssm_state_size": 128,
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "chunk_size": 128,
    "n_routed_experts": 8,
    "moe_intermediate_size": 7688,
    "moe_shared_expert_intermediate_size": 7688,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 4096,
}
NEMOTRON_NAMES = {
    "layer_types": "layers_block_type",
    "num_local_experts": "n_routed_experts",
    "mamba_n_groups": "n_groups",
    "mamba_d_conv": "conv_kernel",
    "mamba_conv_bias": "use_conv_bias",
    "mamba_chunk_size": "chunk_size",
}
LETTERS = {"M": LINEAR, "*": FULL, "-": "mlp", "E": "moe"}
LFM2 = {
    "vocab_size": 65536,
    "hidden_size": 2560,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "conv_L_cache": 3,
    "block_multiple_of": 256,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 128000,
}
LFM2_MOE = LFM2 | {
    "hidden_size": 2048,
    "intermediate_size": 7168,
    "moe_intermediate_size": 1792,
    "num_dense_layers": 2,
    "num_experts": 32,
    "num_experts_per_tok": 4,
}
LFM2_NAMES = {"tie_embedding": "tie_word_embeddings"}


def nemotron_h(config: Config) -> Network:
    """NemotronHForCausalLM: each layer is one of state space, attention, feed-forward, mixture."""
    config = read(config, NEMOTRON, NEMOTRON_NAMES)
    hidden, heads = config.integer("hidden_size"), config.integer("mamba_num_heads")
    bias = config.flag("use_bias")
    sizes = Dual(
        hidden,
        heads * config.integer("mamba_head_dim"),
        heads,
        config.integer("n_groups"),
        config.integer("ssm_state_size"),
        config.integer("conv_kernel"),
        config.integer("chunk_size"),
        config.flag("use_conv_bias"),
        bias,
    )
    mixers = {
        LINEAR: mamba2(sizes),
        FULL: attention(grouped(config, rotary=False)),
        "mlp": _nemotron_mlp(config, config.integer("intermediate_size"), "mlp"),
        "moe": _nemotron_moe(config),
    }
    norm = Norm("norm_f", hidden)
    blocks = runs(_nemotron_kinds(config), lambda kind: (replace(norm, name="norm"), mixers[kind]))
    return causal_lm(config, hidden, blocks, norm, names=EMBEDDED, ties=False)


def _nemotron_kinds(config: Config) -> list[str]:
    """`num_hidden_layers` says nothing here: the list or the letters decide."""
    letters = config.text("hybrid_override_pattern")
    if letters and not config.data.get("layers_block_type"):
        if set(letters) - set(LETTERS) or len(letters) > LIMITS["layers"]:
            raise refuse(config, "hybrid_override_pattern", "the letters M * - E")
        return [LETTERS[letter] for letter in letters]
    count = len(config.sequence("layers_block_type"))
    counted = Config({**config.data, "count": count}, config.defaults, config.path)
    return kinds(counted, str, tuple(LETTERS.values()), "layers_block_type", "count")


def _nemotron_mlp(config: Config, inner: int, name: str, width: int | None = None) -> Block:
    width = width or config.integer("hidden_size")
    return plain_mlp(
        width, inner, config.text("mlp_hidden_act"), config.flag("mlp_bias"), name=name
    )


def _nemotron_moe(config: Config) -> Block:
    hidden, bias = config.integer("hidden_size"), config.flag("mlp_bias")
    narrow = config.optional("moe_latent_size", 1)
    activation, inner = config.text("mlp_hidden_act"), config.integer("moe_intermediate_size")
    expert = plain_mlp(narrow or hidden, inner, activation, False)
    wide = config.integer("moe_shared_expert_intermediate_size")
    shared: Children = (_nemotron_mlp(config, wide, "shared_experts"),)
    if narrow:
        down = Linear("fc1_latent_proj", hidden, narrow, bias)
        shared = (*shared, Block("latent", (down, Linear("fc2_latent_proj", narrow, hidden, bias))))
    sizes = routed(config, "n_routed_experts", "num_experts_per_tok")
    return mixture(hidden, expert, *sizes, shared=shared)


def lfm2(config: Config) -> Network:
    """Lfm2ForCausalLM: gated short convolutions and attention."""
    config = read(config, LFM2, LFM2_NAMES | {"block_ff_dim": "intermediate_size"})
    inner = config.integer("intermediate_size")
    if config.flag("block_auto_adjust_ff_dim"):
        inner = _adjusted(config, int(2 * inner / 3))
    chosen = config.get("full_attn_idxs")
    full = config.indices("full_attn_idxs") if chosen is not None else None
    found = kinds(config, lambda i: FULL if full is None or i in full else "conv", (FULL, "conv"))
    mlp = gated_mlp(config.integer("hidden_size"), inner, names=("w1", "w3", "w2"))
    return _lfm2(config, found, [False] * len(found), (mlp, mlp))


def _adjusted(config: Config, inner: int) -> int:
    if (
        "block_ffn_dim_multiplier" in config.data
        and config.data["block_ffn_dim_multiplier"] is None
    ):
        return inner
    inner = int(config.number("block_ffn_dim_multiplier") * inner)
    multiple = config.integer("block_multiple_of")
    return multiple * ((inner + multiple - 1) // multiple)


def lfm2_moe(config: Config) -> Network:
    """Lfm2MoeForCausalLM: LFM2 with mixtures after the first layers."""
    config = read(config, LFM2_MOE, LFM2_NAMES)
    if config.get("layer_types") is None:
        raise ConfigError(config.where("layer_types"), "layer_types is missing; add it")
    found = kinds(config, str, (FULL, "conv"))
    names = ("w1", "w3", "w2")
    mlp = gated_mlp(config.integer("hidden_size"), config.integer("intermediate_size"), names=names)
    return _lfm2(config, found, after(config, "num_dense_layers"), (mlp, experts(config)))


def _lfm2(
    config: Config, found: Sequence[str], which: Sequence[bool], feeds: tuple[Block, Block]
) -> Network:
    hidden = config.integer("hidden_size")
    shape = grouped(
        config, head_norm=Norm("norm", 0), names=("q_proj", "k_proj", "v_proj", "out_proj")
    )
    kernel, bias = config.integer("conv_L_cache"), config.flag("conv_bias")
    mixers = {FULL: attention(shape), "conv": short_convolution(hidden, kernel, bias)}
    norm = Norm("embedding_norm", hidden)

    def make(kind: tuple[str, bool]) -> Children:
        before, last = replace(norm, name="operator_norm"), replace(norm, name="ffn_norm")
        return before, mixers[kind[0]], last, feeds[kind[1]]

    blocks = runs(list(zip(found, which, strict=True)), make)
    return causal_lm(config, hidden, blocks, norm)


FAMILIES = {"lfm2": lfm2, "lfm2_moe": lfm2_moe, "nemotron_h": nemotron_h}
