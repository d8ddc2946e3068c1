"""Encoders with rotary positions and gated feed-forwards: ModernBERT, its decoder, Nomic BERT.

modernbert (Warner et al. 2024, arXiv 2412.13663), modernbert-decoder (Ettin, 2507.11412),
nomic_bert (2402.01613). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    fused_gated_mlp,
    gated_mlp,
    layer,
)
from service.core.architecture.families.dense import biased, pre_norm
from service.core.architecture.families.encoder import (
    BERT,
    bert_tops,
    classifier,
    encoder,
    norm,
    on_top,
)
from service.core.architecture.families.llama import LLAMA
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    causal_lm,
    head_width,
    kinds,
    labels,
    named_class,
    probability,
    read,
    refuse,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Embedding, Linear, Norm, Split
from service.core.architecture.tree import Block

MODERNBERT = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "hidden_activation": "gelu",
    "max_position_embeddings": 8192,
    "global_attn_every_n_layers": 3,
    "local_attention": 128,
    "decoder_bias": True,
    "tie_word_embeddings": True,
}

NOMIC = BERT | {
    "vocab_size": 30528,
    "hidden_act": "silu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 2048,
}

MODERNBERT_DECODER = LLAMA | {
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


def modernbert(config: Config) -> Network:
    """ModernBertForMaskedLM: rotary positions, gated feed-forwards, mostly local attention."""
    config = read(config, MODERNBERT)
    hidden = config.integer("hidden_size")
    every = config.integer("global_attn_every_n_layers")
    sequence = kinds(config, lambda index: SLIDING if index % every else FULL)
    bias = config.flag("norm_bias")

    def make(kind: tuple[str, bool]) -> Children:
        window = config.integer("local_attention") if kind[0] == SLIDING else None
        first = () if kind[1] else (_layer_norm("attn_norm", hidden, bias),)
        after = (_layer_norm("mlp_norm", hidden, bias), _modern_mlp(config, hidden))
        return (*first, attention(_modern_attention(config, hidden, window)), *after)

    layers = runs([(kind, index == 0) for index, kind in enumerate(sequence)], make)
    table = Embedding("tok_embeddings", config.rows("vocab_size"), hidden, Split.TENSOR, input=True)
    dropout = dropped(hidden, probability(config, "embedding_dropout"))
    parts = (
        Block("embedding", (table, _layer_norm("norm", hidden, bias), *dropout)),
        *layers,
        Block("norm", (_layer_norm("final_norm", hidden, bias),)),
        *on_top(config, _modern_tops(config, hidden)),
    )
    return encoder(config, hidden, parts)


def _layer_norm(name: str, width: int, bias: bool) -> Norm:
    return Norm(name, width, "layer", bias=bias)


def _modern_attention(config: Config, hidden: int, window: int | None) -> AttentionShape:
    heads = config.integer("num_attention_heads")
    dropout, bias = probability(config, "attention_dropout"), config.flag("attention_bias")
    return AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=bias,
        output_bias=bias,
        causal=False,
        window=window,
        fused="Wqkv",
        dropout=dropout,
        residual_dropout=dropout,
        names=("", "", "", "Wo"),
    )


def _modern_mlp(config: Config, hidden: int) -> Block:
    return fused_gated_mlp(
        hidden,
        config.integer("intermediate_size"),
        config.text("hidden_activation"),
        config.flag("mlp_bias"),
        ("Wi", "Wo"),
    )


def _modern_tops(config: Config, hidden: int) -> Mapping[str, Children]:
    act = Activation("act", hidden, config.text("classifier_activation", "gelu"))
    dense = Linear("dense", hidden, hidden, config.flag("classifier_bias"))
    head = Block("head", (dense, act, _layer_norm("norm", hidden, config.flag("norm_bias"))))
    decoder = Linear(
        "decoder",
        hidden,
        config.rows("vocab_size"),
        config.flag("decoder_bias"),
        "column",
        tied=config.flag("tie_word_embeddings"),
        head=True,
    )
    classes = classifier(hidden, labels(config))
    return {
        "ForMaskedLM": (head, Block("head", (decoder,))),
        "Model": (),
        "ForSequenceClassification": (head, classes),
        "ForTokenClassification": (head, classes),
        "ForQuestionAnswering": (head, classes),
        "ForMultipleChoice": (head, classifier(hidden, 1)),
    }


def nomic_bert(config: Config) -> Network:
    """NomicBertForMaskedLM: rotary positions, gated feed-forwards, no biases."""
    config = read(config, NOMIC)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    rows = config.rows("vocab_size")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        config.optional("head_dim", 1) or hidden // heads,
        causal=False,
        dropout=probability(config, "attention_probs_dropout_prob"),
        residual_dropout=probability(config, "hidden_dropout_prob"),
    )
    mlp = gated_mlp(hidden, config.integer("intermediate_size"), config.text("hidden_act"))
    layers = layer(
        attention(shape),
        norm("post_attention_layernorm", hidden),
        mlp,
        norm("post_mlp_layernorm", hidden),
        repeat=config.layers("num_hidden_layers"),
    )
    tables = (
        Embedding("word_embeddings", rows, hidden, Split.TENSOR, input=True),
        Embedding("token_type_embeddings", config.rows("type_vocab_size"), hidden),
        norm("LayerNorm", hidden),
    )
    tops = {
        name: parts
        for name, parts in bert_tops(config, hidden, hidden).items()
        if name in ("ForMaskedLM", "Model", "ForSequenceClassification", "ForTokenClassification")
    }
    return encoder(config, hidden, (Block("embedding", tables), layers, *on_top(config, tops)))


def modernbert_decoder(config: Config) -> Network:
    """ModernBertDecoderForCausalLM: the encoder's layer with causal attention."""
    config = read(config, MODERNBERT_DECODER)
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


FAMILIES = {
    "modernbert": modernbert,
    "modernbert-decoder": modernbert_decoder,
    "nomic_bert": nomic_bert,
}
