"""Dense decoders close to Llama, each with a turn of its own.

arcee (AFM, arXiv 2509.11543), smollm3, seed_oss, helium, ernie4_5, cwm (2510.02387), hyperclovax
(2404.01954), diffllama (2410.05258), bitnet (2504.12285), apertus (2509.14233), nanochat, jais2.
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import gated_mlp
from service.core.architecture.families.dense import (
    biased,
    dense,
    plain,
    pre_norm,
    sandwich,
    swiglu,
    windows,
)
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import FULL, SLIDING, grouped, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Norm, Parameter
from service.core.architecture.tree import Block

ARCEE = LLAMA | {
    "hidden_size": 2560,
    "intermediate_size": 18432,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
}

SMOLLM3 = LLAMA | {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "no_rope_layer_interval": 4,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}

SEED_OSS = LLAMA | {
    "vocab_size": 155136,
    "intermediate_size": 27648,
    "num_hidden_layers": 64,
    "num_attention_heads": 80,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "attention_bias": True,
    "attention_dropout": 0.1,
    "residual_dropout": 0.1,
    "max_position_embeddings": 524288,
}

HELIUM = LLAMA | {
    "vocab_size": 48000,
    "hidden_size": 2560,
    "intermediate_size": 7040,
    "num_hidden_layers": 24,
    "num_attention_heads": 20,
    "num_key_value_heads": 20,
    "head_dim": 128,
    "max_position_embeddings": 4096,
}

ERNIE4_5 = LLAMA | {
    "vocab_size": 103424,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 18,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}

CWM = LLAMA | {
    "vocab_size": 128256,
    "hidden_size": 6144,
    "intermediate_size": 21504,
    "num_hidden_layers": 64,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": 8192,
    "max_position_embeddings": 131072,
}

DIFFLLAMA = LLAMA | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
}

BITNET = LLAMA | {
    "vocab_size": 128256,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_hidden_layers": 30,
    "num_attention_heads": 20,
    "num_key_value_heads": 5,
    "hidden_act": "relu2",
}

APERTUS = LLAMA | {
    "vocab_size": 131072,
    "intermediate_size": 14336,
    "hidden_act": "xielu",
    "max_position_embeddings": 65536,
}

NANOCHAT = LLAMA | {
    "vocab_size": 50304,
    "hidden_size": 768,
    "intermediate_size": 8192,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "hidden_act": "relu2",
}

JAIS2 = LLAMA | {
    "vocab_size": 150272,
    "hidden_size": 3328,
    "intermediate_size": 26624,
    "num_attention_heads": 26,
    "hidden_act": "relu2",
    "attention_bias": True,
    "mlp_bias": True,
    "max_position_embeddings": 8192,
}


def arcee(config: Config) -> Network:
    """ArceeForCausalLM: a plain feed-forward with squared ReLU."""
    config = read(config, ARCEE)
    return dense(config, biased(config), plain(config, "mlp_bias"))


def smollm3(config: Config) -> Network:
    """SmolLM3ForCausalLM: no positions on every fourth layer, which may have a window."""
    config = read(config, SMOLLM3)
    used, without = config.flag("use_sliding_window"), config.sequence("no_rope_layers")
    step = config.integer("no_rope_layer_interval")

    def kind(index: int) -> str:
        rotary = without[index] if index < len(without) else (index + 1) % step
        return SLIDING if used and not rotary else FULL

    pattern = windows(config, kind)
    return dense(config, biased(config), swiglu(config, "mlp_bias"), windows=pattern)


def seed_oss(config: Config) -> Network:
    """SeedOssForCausalLM: the output projection's bias has a field of its own."""
    config = read(config, SEED_OSS)
    shape = grouped(
        config,
        bias=config.flag("attention_bias"),
        output_bias=config.flag("attention_out_bias"),
    )
    return dense(config, shape, swiglu(config, "mlp_bias"))


def helium(config: Config) -> Network:
    """HeliumForCausalLM."""
    config = read(config, HELIUM)
    shape = grouped(config, bias=config.flag("attention_bias"))
    if shape.heads * shape.head_dim != shape.hidden:
        raise refuse(config, "head_dim", "hidden_size / num_attention_heads")
    return dense(config, shape, swiglu(config, "mlp_bias"))


def ernie4_5(config: Config) -> Network:
    """Ernie4_5ForCausalLM: one field for all biases."""
    config = read(config, ERNIE4_5)
    return dense(config, biased(config, "use_bias"), swiglu(config, "use_bias"))


def cwm(config: Config) -> Network:
    """CwmForCausalLM: one full layer, then three sliding ones."""
    config = read(config, CWM)
    pattern = windows(config, lambda index: SLIDING if index % 4 else FULL)
    return dense(config, grouped(config), swiglu(config, "mlp_bias"), windows=pattern)


def hyperclovax(config: Config) -> Network:
    """HyperCLOVAXForCausalLM: optional norms after each half."""
    config = read(config, LLAMA | {"use_post_norm": True})
    arrange = sandwich if config.flag("use_post_norm") else pre_norm
    return dense(config, biased(config), swiglu(config, "mlp_bias"), arrange=arrange)


def diffllama(config: Config) -> Network:
    """DiffLlamaForCausalLM: the difference of two attentions, weighted by learned lambdas."""
    config = read(config, DIFFLLAMA)
    shape = biased(config)
    lambdas = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
    extra = (
        *(Parameter(name, (shape.head_dim,)) for name in lambdas),
        Norm("groupnorm", 2 * shape.head_dim, weight=False, copies=shape.heads // 2),
    )
    return dense(config, replace(shape, extra=extra), swiglu(config))


def bitnet(config: Config) -> Network:
    """BitNetForCausalLM: norms inside attention and feed-forward, for ternary weights."""
    config = read(config, BITNET)
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    shape = biased(config, extra=(Norm("attn_sub_norm", hidden),))
    mlp = gated_mlp(hidden, inner, config.text("hidden_act"))
    return dense(config, shape, Block("mlp", (*mlp.children, Norm("ffn_sub_norm", inner))))


def apertus(config: Config) -> Network:
    """ApertusForCausalLM: a plain feed-forward whose activation is learned (xIELU)."""
    config = read(config, APERTUS)
    shape = biased(config, head_norm=Norm("norm", 0))
    mlp = plain(config, False)
    if config.text("hidden_act") == "xielu":
        learned = (Parameter("alpha_p", (1,)), Parameter("alpha_n", (1,)))
        mlp = replace(mlp, children=(*mlp.children, *learned))
    return dense(config, shape, mlp)


def nanochat(config: Config) -> Network:
    """NanoChatForCausalLM: norms without weights."""
    config = read(config, NANOCHAT)
    norm = Norm("norm", config.integer("hidden_size"), weight=False)
    shape = biased(config, head_norm=Norm("norm", 0, weight=False))
    return dense(config, shape, plain(config, False, ("fc1", "fc2")), norm=norm)


def jais2(config: Config) -> Network:
    """Jais2ForCausalLM: LayerNorm and biases."""
    config = read(config, JAIS2)
    norm = Norm("norm", config.integer("hidden_size"), "layer", bias=True)
    return dense(config, biased(config), plain(config, "mlp_bias"), norm=norm)


FAMILIES = {
    "apertus": apertus,
    "arcee": arcee,
    "bitnet": bitnet,
    "cwm": cwm,
    "diffllama": diffllama,
    "ernie4_5": ernie4_5,
    "helium": helium,
    "hyperclovax": hyperclovax,
    "jais2": jais2,
    "nanochat": nanochat,
    "seed_oss": seed_oss,
    "smollm3": smollm3,
}
