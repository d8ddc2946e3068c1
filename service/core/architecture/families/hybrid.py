"""Attention and state-space layers in one network.

jamba (Lieber et al. 2024, arXiv 2403.19887), bamba (IBM 2024), granitemoehybrid (Granite 4.0),
falcon_h1 (2507.22448). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, attention, fused_gated_mlp
from service.core.architecture.families.dense import biased, swiglu
from service.core.architecture.families.experts import experts
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.mamba import step_rank
from service.core.architecture.families.mixers import Dual, Selective, mamba, mamba2
from service.core.architecture.families.mixtral import granite_experts
from service.core.architecture.families.trunk import FULL, causal_lm, grouped, kinds, read, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm
from service.core.architecture.tree import Block

LINEAR = "linear_attention"
JAMBA = LLAMA | {
    "vocab_size": 65536,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_dt_rank": "auto",
    "mamba_conv_bias": True,
    "max_position_embeddings": 262144,
}
DUAL = {
    "mamba_n_heads": 128,
    "mamba_d_head": "auto",
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_chunk_size": 256,
    "mamba_conv_bias": True,
}
BAMBA = (
    LLAMA
    | DUAL
    | {
        "vocab_size": 128000,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 262144,
    }
)
GRANITE = (
    LLAMA
    | DUAL
    | {"num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 1024}
)
FALCON = BAMBA | {"mamba_d_ssm": 1024, "max_position_embeddings": 8192}


def two_halves(
    norm: Norm, mixer: Block, feed: Children, second: str = "pre_ff_layernorm"
) -> Children:
    """A norm before the mixer and one before the feed-forward."""
    return replace(norm, name="input_layernorm"), mixer, replace(norm, name=second), *feed


def jamba(config: Config) -> Network:
    """JambaForCausalLM: one attention in eight layers, a mixture in every other."""
    config = read(config, JAMBA, {"num_local_experts": "num_experts"})
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    sizes = Selective(
        hidden,
        config.integer("mamba_expand") * hidden,
        config.integer("mamba_d_state"),
        step_rank(config, hidden, "mamba_dt_rank"),
        config.integer("mamba_d_conv"),
        config.flag("mamba_conv_bias"),
        config.flag("mamba_proj_bias"),
        (True, True),
    )
    mixers = (mamba(sizes), attention(grouped(config, rotary=False)))
    mlp, norm = swiglu(config), Norm("final_layernorm", hidden)
    single = config.integer("num_experts") == 1
    moe = mlp if single else experts(config, "intermediate_size", router="router")
    attends = _periodic(config, "attn_layer", layers)
    mixes = _periodic(config, "expert_layer", layers)

    def make(kind: tuple[bool, bool]) -> Children:
        return two_halves(norm, mixers[kind[0]], (moe if kind[1] else mlp,))

    blocks = runs(list(zip(attends, mixes, strict=True)), make)
    return causal_lm(config, hidden, blocks, norm)


def _periodic(config: Config, name: str, layers: int) -> Sequence[bool]:
    period, offset = config.integer(f"{name}_period"), config.integer(f"{name}_offset", 0)
    if offset >= period:
        raise ConfigError(config.where(f"{name}_offset"), f"{name}_offset must be below its period")
    return [index % period == offset for index in range(layers)]


def _dual(config: Config, inner: int | None = None, norm: bool = True) -> Dual:
    hidden, heads = config.integer("hidden_size"), config.integer("mamba_n_heads")
    inner = inner or config.integer("mamba_expand") * hidden
    width = config.get("mamba_d_head")
    if inner % heads or (width != "auto" and config.integer("mamba_d_head") * heads != inner):
        raise ConfigError(
            config.where("mamba_n_heads"), "mamba_n_heads * mamba_d_head must be the inner width"
        )
    return Dual(
        hidden,
        inner,
        heads,
        config.integer("mamba_n_groups"),
        config.integer("mamba_d_state"),
        config.integer("mamba_d_conv"),
        config.integer("mamba_chunk_size"),
        config.flag("mamba_conv_bias"),
        config.flag("mamba_proj_bias"),
        norm=norm,
    )


def bamba(config: Config) -> Network:
    """BambaForCausalLM: attention in the layers that `attn_layer_indices` names."""
    config = read(config, BAMBA)
    hidden, chosen = config.integer("hidden_size"), config.indices("attn_layer_indices")
    mixers = (mamba2(_dual(config)), attention(biased(config)))
    mlp, norm = swiglu(config, "mlp_bias"), Norm("final_layernorm", hidden)
    attends = [index in chosen for index in range(config.layers("num_hidden_layers"))]
    blocks = runs(attends, lambda kind: two_halves(norm, mixers[kind], (mlp,)))
    return causal_lm(config, hidden, blocks, norm)


def granitemoehybrid(config: Config) -> Network:
    """GraniteMoeHybridForCausalLM: a shared feed-forward always, a mixture where there is one."""
    config = read(config, GRANITE, {"layers_block_type": "layer_types"})
    hidden, inner = config.integer("hidden_size"), config.integer("shared_intermediate_size")
    names = ("input_linear", "output_linear")
    activation = config.text("hidden_act")
    feed: Children = (fused_gated_mlp(hidden, inner, activation, names=names, name="shared_mlp"),)
    if config.integer("num_local_experts", 0):
        without = Config({**config.data, "shared_intermediate_size": 0}, config.defaults)
        feed = (granite_experts(without), *feed)
    mixers = {LINEAR: mamba2(_dual(config)), FULL: attention(biased(config))}
    norm = Norm("norm", hidden)
    found = kinds(config, lambda _: LINEAR, tuple(mixers))
    second = "post_attention_layernorm"
    blocks = runs(found, lambda kind: two_halves(norm, mixers[kind], feed, second))
    return causal_lm(config, hidden, blocks, norm)


def falcon_h1(config: Config) -> Network:
    """FalconH1ForCausalLM: attention and a state space side by side in each layer."""
    config = read(config, FALCON)
    hidden = config.integer("hidden_size")
    inner = config.optional("mamba_d_ssm", 1)
    sizes = _dual(config, inner, config.flag("mamba_rms_norm"))
    mixer = mamba2(replace(sizes, output_bias=config.flag("projectors_bias")))
    mlp, norm = swiglu(config, "mlp_bias"), Norm("final_layernorm", hidden)
    both = Block("mixers", (mixer, attention(biased(config))))
    layer = two_halves(norm, both, (mlp,))
    blocks = runs([None] * config.layers("num_hidden_layers"), lambda _: layer)
    return causal_lm(config, hidden, blocks, norm)


FAMILIES = {
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granitemoehybrid,
    "jamba": jamba,
}
