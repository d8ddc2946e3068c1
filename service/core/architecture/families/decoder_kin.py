"""Dense decoders that stand apart.

granite_swa, doge (arXiv 2412.11834), modernbert-decoder (Ettin, 2507.11412), cpmant (CPM-Ant,
OpenBMB 2022), lfm3. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    fused_gated_mlp,
    gated_mlp,
)
from service.core.architecture.families.dense import biased, dense, pre_norm, swiglu, windows
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.mixers import short_convolution
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    head_width,
    kinds,
    named_class,
    probability,
    read,
    refuse,
    runs,
    window,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import Activation, Embedding, Linear, Norm, Parameter

GRANITE = LLAMA | {
    "vocab_size": 100352,
    "hidden_size": 2560,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 20,
    "num_key_value_heads": 4,
    "sliding_window": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
DOGE = LLAMA | {
    "vocab_size": 32768,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
}
MODERNBERT = LLAMA | {
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "hidden_activation": "gelu",
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
    "decoder_bias": True,
    "classifier_activation": "gelu",
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
CPMANT = {
    "vocab_size": 30720,
    "hidden_size": 4096,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "dim_head": 128,
    "dim_ff": 10240,
    "prompt_types": 32,
    "prompt_length": 32,
    "segment_types": 32,
    "position_bias_num_buckets": 512,
}
LFM3 = LLAMA | {
    "vocab_size": 128000,
    "hidden_size": 2048,
    "intermediate_size": 7680,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "conv_L_cache": 7,
    "sliding_window": 256,
    "use_sandwich_norm": True,
    "use_attention_gate": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 128000,
}


def granite_swa(config: Config) -> Network:
    """GraniteSWAForCausalLM: one full layer to three sliding ones, attention sinks."""
    config = read(config, GRANITE)
    pattern = windows(config, lambda index: SLIDING if index % 4 else FULL)
    shape = biased(config, sinks=True)
    return dense(config, shape, swiglu(config, "mlp_bias"), windows=pattern)


def doge(config: Config) -> Network:
    """DogeForCausalLM without experts: values decide what attention masks."""
    config = read(config, DOGE)
    if config.flag("is_moe"):
        raise refuse(config, "is_moe", "false")
    shape = biased(config, head_norm=Norm("norm", 0), window=window(config))
    groups = shape.key_value_heads
    mask: Children = (
        Parameter("A", (groups,)),
        Linear("dt_proj", groups * shape.head_dim, groups, config.flag("attention_bias")),
    )
    shape = replace(shape, extra=mask)
    return dense(config, shape, swiglu(config, "mlp_bias"), arrange=_doge_layer)


def _doge_layer(norm: Norm, attention: Block, mlp: Block) -> Children:
    scale = (norm.width,)
    first, half, second, last = pre_norm(norm, attention, mlp)
    after = Parameter("post_attention_residual", scale)
    return first, half, Parameter("input_residual", scale), second, last, after


def modernbert_decoder(config: Config) -> Network:
    """ModernBertDecoderForCausalLM: the encoder's layer with causal attention."""
    config = read(config, MODERNBERT)
    hidden, activation = config.integer("hidden_size"), config.text("hidden_activation")
    norm = Norm("final_norm", hidden, "layer", bias=config.flag("norm_bias"))
    shape = biased(config, names=("q_proj", "k_proj", "v_proj", "Wo"))
    shape = replace(shape, head_dim=head_width(config, hidden, shape.heads))
    bias, dropout = config.flag("mlp_bias"), probability(config, "mlp_dropout")
    inner = config.integer("intermediate_size")
    mlp = fused_gated_mlp(hidden, inner, activation, bias, ("Wi", "Wo"), dropout)
    every = config.integer("global_attn_every_n_layers")
    found = kinds(config, lambda index: SLIDING if index % every else FULL)
    size = (config.optional("local_attention", 0, 1 << 40) or 0) // 2 or None

    def make(kind: tuple[str, bool]) -> Children:
        block = attention(replace(shape, window=size if kind[0] == SLIDING else None))
        layer = pre_norm(norm, block, mlp)
        return layer[1:] if kind[1] else layer

    layers = runs([(kind, index == 0) for index, kind in enumerate(found)], make)
    head: Children = (
        Linear("dense", hidden, hidden, config.flag("classifier_bias")),
        Activation("act", hidden, config.text("classifier_activation")),
        replace(norm, name="norm"),
    )
    if named_class(config) not in ("", "ModernBertDecoderForCausalLM"):
        raise refuse(config, "architectures", "ModernBertDecoderForCausalLM")
    drop = dropped(hidden, probability(config, "embedding_dropout"))
    return causal_lm(
        config,
        hidden,
        layers,
        norm,
        before=(replace(norm, name="norm"), *drop),
        after=(Block("prediction", head),),
        head_bias=config.flag("decoder_bias"),
        names=("tok_embeddings", "decoder"),
    )


def cpmant(config: Config) -> Network:
    """CpmAntForCausalLM: learned prompts before the text, relative positions."""
    config = read(config, CPMANT)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    names = ("project_q", "project_k", "project_v", "attention_out")
    shape = AttentionShape(
        hidden, heads, heads, config.integer("dim_head"), rotary=False, names=names
    )
    mlp = gated_mlp(hidden, config.integer("dim_ff"), "gelu", names=("w_0", "w_1", "w_out"))
    prompts = config.integer("prompt_types", 0) * config.integer("prompt_length", 0)
    segments = config.integer("segment_types", 0)
    rows = segments * segments + config.integer("position_bias_num_buckets", 0)
    before: Children = (
        Embedding("segment_embedding", segments, hidden),
        Embedding("position_bias", rows, heads),
    )
    rows = config.rows("vocab_size")
    config = Config({**config.data, "vocab_size": rows + prompts}, config.defaults, config.path)
    return dense(
        config,
        shape,
        mlp,
        norm=Norm("output_layernorm", hidden),
        before=before,
        names=("input_embedding", "lm_head"),
        head_rows=rows,
        ties=False,
    )


def lfm3(config: Config) -> Network:
    """Lfm3ForCausalLM: short convolutions, sliding and full attention with gated heads."""
    config = read(config, LFM3)
    hidden = config.integer("hidden_size")
    shape = biased(config, head_norm=Norm("norm", 0))
    if config.flag("use_attention_gate"):
        gate = Linear("g_proj", hidden, shape.heads, split="column", keeps_input=False)
        shape = replace(shape, extra=(gate,))
    mixers = {
        "conv": short_convolution(hidden, config.integer("conv_L_cache"), config.flag("conv_bias")),
        FULL: attention(shape),
        SLIDING: attention(replace(shape, window=window(config))),
    }
    names = ("w1", "w3", "w2")
    mlp = gated_mlp(hidden, config.integer("intermediate_size"), names=names)
    norm = Norm("embedding_norm", hidden)
    around = config.flag("use_sandwich_norm")

    def kind(index: int) -> str:
        if index % 4 == 2:
            return FULL
        return SLIDING if index % 4 == 0 and index > 0 else "conv"

    def make(mixer: str) -> Children:
        named = ("operator_norm", "post_operator_norm", "ffn_norm", "post_ffn_norm")
        one, two, three, four = (replace(norm, name=name) for name in named)
        if around:
            return one, mixers[mixer], two, three, mlp, four
        return one, mixers[mixer], three, mlp

    return causal_lm(config, hidden, runs(kinds(config, kind, tuple(mixers)), make), norm)


FAMILIES = {
    "cpmant": cpmant,
    "doge": doge,
    "granite_swa": granite_swa,
    "lfm3": lfm3,
    "modernbert-decoder": modernbert_decoder,
}
