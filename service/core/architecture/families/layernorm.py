"""Dense decoders with LayerNorm, with norms in other places, or with fused projections.

olmo (arXiv 2402.00838), olmo2 (2501.00656), olmo3 (2512.13961),
glm and glm4 (2406.12793), starcoder2 (2402.19173), stablelm (2402.17834), nemotron (2402.16819),
persimmon (adept.ai/blog/persimmon-8b). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, fused_gated_mlp
from service.core.architecture.families.dense import (
    biased,
    dense,
    every,
    parallel,
    plain,
    post_norm,
    pre_norm,
    swiglu,
    windows,
)
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import filling, grouped, probability, read, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm
from service.core.architecture.tree import Block

OLMO = LLAMA | {"vocab_size": 50304, "sliding_window": 4096}

GLM = LLAMA | {
    "vocab_size": 151552,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "attention_bias": True,
    "max_position_embeddings": 131072,
}

STARCODER2 = LLAMA | {
    "vocab_size": 49152,
    "hidden_size": 3072,
    "intermediate_size": 12288,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "use_bias": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}

STABLELM = LLAMA | {
    "vocab_size": 50304,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
}

PERSIMMON = LLAMA | {
    "vocab_size": 262144,
    "intermediate_size": 16384,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "hidden_act": "relu2",
    "qk_layernorm": True,
    "max_position_embeddings": 16384,
}

NEMOTRON = LLAMA | {
    "vocab_size": 256000,
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_attention_heads": 48,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
}


def layer_norm(config: Config, bias: bool = True, weight: bool = True) -> Norm:
    """A LayerNorm of the hidden width."""
    return Norm("norm", config.integer("hidden_size"), "layer", weight, bias)


def olmo(config: Config) -> Network:
    """OlmoForCausalLM: LayerNorm without weights."""
    config = read(config, OLMO)
    norm = layer_norm(config, bias=False, weight=False)
    return dense(config, biased(config), swiglu(config), norm=norm)


def olmo2(config: Config) -> Network:
    """Olmo2ForCausalLM: norms after each half, and of all queries and keys together."""
    config = read(config, OLMO)
    shape = biased(config, head_norm=Norm("norm", 0), whole_norm=True)
    return dense(config, shape, swiglu(config), arrange=post_norm)


def olmo3(config: Config) -> Network:
    """Olmo3ForCausalLM: OLMo 2 with three sliding layers to one full."""
    config = read(config, OLMO)
    shape = biased(config, head_norm=Norm("norm", 0), whole_norm=True)
    pattern = windows(config, every(4))
    return dense(config, shape, swiglu(config), arrange=post_norm, windows=pattern)


def _glm_mlp(config: Config) -> Block:
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    return fused_gated_mlp(hidden, inner, config.text("hidden_act"))


def glm(config: Config) -> Network:
    """GlmForCausalLM: biases on queries, keys and values; gate and up in one product."""
    config = read(config, GLM)
    shape = grouped(config, bias=config.flag("attention_bias"))
    return dense(config, shape, _glm_mlp(config))


def _glm4_layer(norm: Norm, attention: Block, mlp: Block) -> Children:
    before, after = pre_norm(norm, attention, mlp)[:2], pre_norm(norm, attention, mlp)[2:]
    first = replace(norm, name="post_self_attn_layernorm")
    return (*before, first, *after, replace(norm, name="post_mlp_layernorm"))


def glm4(config: Config) -> Network:
    """Glm4ForCausalLM: GLM with norms after each half too."""
    config = read(config, GLM)
    shape = grouped(config, bias=config.flag("attention_bias"))
    return dense(config, shape, _glm_mlp(config), arrange=_glm4_layer)


def starcoder2(config: Config) -> Network:
    """Starcoder2ForCausalLM: a plain feed-forward, biases and LayerNorm."""
    config = read(config, STARCODER2)
    dropout = probability(config, "residual_dropout")
    shape = biased(config, "use_bias", window=window(config), residual_dropout=dropout)
    hidden = config.integer("hidden_size")
    return dense(
        config,
        shape,
        plain(config, "use_bias", ("c_fc", "c_proj"), dropout=dropout),
        norm=layer_norm(config),
        before=dropped(hidden, probability(config, "embedding_dropout")),
    )


def stablelm(config: Config) -> Network:
    """StableLmForCausalLM: optionally halves side by side, and a norm for each head."""
    config = read(config, STABLELM)
    norm = layer_norm(config)
    shape = filling(config, bias=config.flag("use_qkv_bias"))
    if config.flag("qk_layernorm"):
        heads = replace(norm, bias=False)
        shape = replace(shape, head_norm=heads, whole_norm=True)
    arrange = parallel if config.flag("use_parallel_residual") else pre_norm
    return dense(config, shape, swiglu(config), arrange=arrange, norm=norm)


def persimmon(config: Config) -> Network:
    """PersimmonForCausalLM: one projection, LayerNorm of each head's queries and keys."""
    config = read(config, PERSIMMON)
    norm = layer_norm(config)
    shape = filling(
        config,
        bias=True,
        output_bias=True,
        fused="query_key_value",
        names=("", "", "", "dense"),
        head_norm=norm if config.flag("qk_layernorm") else None,
    )
    mlp = plain(config, True, ("dense_h_to_4h", "dense_4h_to_h"))
    return dense(config, shape, mlp, norm=norm)


def nemotron(config: Config) -> Network:
    """NemotronForCausalLM: a plain feed-forward with squared ReLU, LayerNorm."""
    config = read(config, NEMOTRON)
    mlp = plain(config, "mlp_bias")
    return dense(config, biased(config), mlp, norm=layer_norm(config))


FAMILIES = {
    "glm": glm,
    "glm4": glm4,
    "nemotron": nemotron,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmo3": olmo3,
    "persimmon": persimmon,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
}
