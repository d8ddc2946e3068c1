"""Encoders whose attention is not BERT's: relative, local, convolved or mixed by Fourier.

deberta (He et al. 2020, arXiv 2006.03654), deberta-v2 (2111.09543), modernbert (2412.13663),
nomic_bert (2402.01613), xlnet (1906.08237), xlm (1901.07291), longformer (2004.05150),
nystromformer (2102.03902), fnet (2105.03824). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import (
    BERT,
    bert_tops,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    masked_lm,
    norm,
    on_top,
    pooler,
    roberta_tops,
)
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    fused_gated_mlp,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.trunk import (
    FULL,
    SLIDING,
    head_width,
    kinds,
    labels,
    probability,
    read,
    refuse,
    runs,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import Stream, fixed

DEBERTA = BERT | {
    "vocab_size": 50265,
    "type_vocab_size": 0,
    "relative_attention": False,
    "position_biased_input": True,
    "max_relative_positions": -1,
    "pooler_hidden_act": "gelu",
    "legacy": True,
}
DEBERTA_V2 = DEBERTA | {
    "vocab_size": 128100,
    "hidden_size": 1536,
    "num_hidden_layers": 24,
    "num_attention_heads": 24,
    "intermediate_size": 6144,
}
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
XLNET = {
    "vocab_size": 32000,
    "d_model": 1024,
    "n_layer": 24,
    "n_head": 16,
    "d_inner": 4096,
    "ff_activation": "gelu",
    "dropout": 0.1,
    "tie_word_embeddings": True,
}
XLM = {
    "vocab_size": 30145,
    "emb_dim": 2048,
    "n_layers": 12,
    "n_heads": 16,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "gelu_activation": True,
    "n_langs": 1,
    "use_lang_emb": True,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
NYSTROMFORMER = BERT | {
    "vocab_size": 30000,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 510,
    "num_landmarks": 64,
    "conv_kernel_size": 65,
}
FNET = BERT | {"vocab_size": 32000, "hidden_act": "gelu_new", "type_vocab_size": 4}


def deberta(config: Config) -> Network:
    """DebertaForMaskedLM: content and relative positions attend to each other."""
    config = read(config, DEBERTA)
    hidden = config.integer("hidden_size")
    if config.flag("talking_head"):
        raise refuse(config, "talking_head", "false")
    fused: list[Operator] = [
        Linear("in_proj", hidden, 3 * hidden, split="column"),
        Parameter("q_bias", (hidden,), Split.TENSOR),
        Parameter("v_bias", (hidden,), Split.TENSOR),
    ]
    kinds_of_position = _positions(config)
    if config.flag("relative_attention"):
        if "c2p" in kinds_of_position:
            fused.append(Linear("pos_proj", hidden, hidden, split="column"))
        if "p2c" in kinds_of_position:
            fused.append(Linear("pos_q_proj", hidden, hidden, True, "column"))
    return _deberta(config, tuple(fused), _span(config))


def deberta_v2(config: Config) -> Network:
    """DebertaV2ForMaskedLM: as DeBERTa, with buckets, shared keys and a convolution."""
    config = read(config, DEBERTA_V2)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    width = heads * (config.optional("attention_head_size", 1) or hidden // heads)
    if width != hidden:
        raise refuse(config, "attention_head_size", "hidden_size / num_attention_heads")
    names = ["query_proj", "key_proj", "value_proj"]
    if config.flag("relative_attention") and not config.flag("share_att_key"):
        kinds_of_position = _positions(config)
        names += ["pos_key_proj"] if "c2p" in kinds_of_position else []
        names += ["pos_query_proj"] if "p2c" in kinds_of_position else []
    buckets = config.optional("position_buckets", -1)
    span = buckets if buckets is not None and buckets > 0 else _span(config)
    products: Children = tuple(Linear(name, hidden, hidden, True, "column") for name in names)
    if config.flag("relative_attention"):
        products += _bucket_scores(hidden, heads, len(_positions(config)), 2 * span)
    return _deberta(config, products, span)


def _bucket_scores(hidden: int, heads: int, kinds: int, buckets: int) -> Children:
    """What is kept of the scores of all buckets, of which each pair is given one.

    The projected positions are repeated for each sample.
    """
    positions = Activation("position_keys", kinds * hidden, "gelu")
    scores = Activation("position_scores", kinds * heads * buckets, "gelu")
    return Block("positions", (positions,), stream=fixed(buckets)), scores


def _positions(config: Config) -> frozenset[str]:
    given = config.get("pos_att_type")
    items = given.lower().split("|") if isinstance(given, str) else config.sequence("pos_att_type")
    return frozenset(item.strip() for item in items if isinstance(item, str))


def _span(config: Config) -> int:
    """Half the rows of the table of relative positions."""
    reach = config.integer("max_relative_positions", -1)
    return reach if reach >= 1 else config.integer("max_position_embeddings")


def _deberta(config: Config, products: Children, span: int) -> Network:
    hidden = config.integer("hidden_size")
    width = config.optional("embedding_size", 1) or hidden
    block, first, mlp, second = encoder_layer(config, hidden)
    assert isinstance(block, Block)
    inner = (*products, *block.children[3:])
    layers = layer(
        replace(block, children=inner),
        first,
        mlp,
        second,
        repeat=config.layers("num_hidden_layers"),
    )
    top = on_top(config, _deberta_tops(config, hidden, width))
    parts = (_deberta_embeddings(config, hidden, width), layers, *_relative(config, span), *top)
    return encoder(config, hidden, parts)


def _deberta_embeddings(config: Config, hidden: int, width: int) -> Block:
    rows = config.rows("vocab_size")
    tables: list[Operator] = [Embedding("word_embeddings", rows, width, Split.TENSOR, input=True)]
    if config.flag("position_biased_input"):
        limit = config.rows("max_position_embeddings")
        tables.append(Embedding("position_embeddings", limit, width))
    if config.rows("type_vocab_size"):
        tables.append(Embedding("token_type_embeddings", config.rows("type_vocab_size"), width))
    if width != hidden:
        tables.append(Linear("embed_proj", width, hidden))
    dropout = dropped(hidden, probability(config, "hidden_dropout_prob"))
    return Block("embedding", (*tables, norm("LayerNorm", hidden), *dropout))


def _relative(config: Config, span: int) -> Children:
    """The table of relative positions, its norm, and the convolution after the first layer."""
    hidden = config.integer("hidden_size")
    found: list[Operator] = []
    if config.flag("relative_attention"):
        found.append(Embedding("rel_embeddings", 2 * span, hidden))
    normed = config.text("norm_rel_ebd", "none").lower().split("|")
    if "layer_norm" in [item.strip() for item in normed]:
        found.append(norm("LayerNorm", hidden))
    kernel = config.optional("conv_kernel_size", 0)
    if kernel:
        groups = config.optional("conv_groups", 1) or 1
        found.append(Convolution("conv", hidden, hidden, (kernel,), groups))
        found.append(norm("conv_norm", hidden))
    return (Block("positions", tuple(found)),) if found else ()


def _deberta_tops(config: Config, hidden: int, width: int) -> Mapping[str, Children]:
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    act = config.text("hidden_act")
    if config.flag("legacy"):
        lm = masked_lm(hidden, width, rows, tied, act)
    else:
        dense = (Linear("dense", hidden, hidden, True), Activation("act", hidden, act))
        bias = Parameter("bias", (rows,), Split.TENSOR)
        lm = Block("head", (*dense, norm("LayerNorm", hidden), bias))
    pooled = config.optional("pooler_hidden_size", 1) or hidden
    pool = Block("pooler", (Linear("dense", pooled, pooled, True),))
    return {
        "ForMaskedLM": (lm,),
        "Model": (),
        "ForSequenceClassification": (pool, classifier(hidden, labels(config))),
        "ForMultipleChoice": (pool, classifier(hidden, 1)),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
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


def xlnet(config: Config) -> Network:
    """XLNetLMHeadModel: attention with relative positions and segments (Transformer-XL's)."""
    names = {"n_token": "vocab_size", "hidden_size": "d_model"}
    config = read(config, XLNET, names | {"num_hidden_layers": "n_layer"})
    hidden, heads = config.integer("d_model"), config.integer("n_head")
    width, dropout = head_width(config, hidden, heads, "n_head"), probability(config, "dropout")
    if (config.optional("d_head", 1) or width) != width:
        raise refuse(config, "d_head", "d_model / n_head")
    free: Children = (
        Linear("r", hidden, hidden, split="column"),
        *(Parameter(f"r_{kind}_bias", (heads, width), Split.TENSOR) for kind in "rsw"),
        Parameter("seg_embed", (2, heads, width), Split.TENSOR),
    )
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        width,
        rotary=False,
        causal=False,
        dropout=dropout,
        residual_dropout=dropout,
        names=("q", "k", "v", "o"),
        extra=free,
    )
    mlp = plain_mlp(
        hidden,
        config.integer("d_inner"),
        config.text("ff_activation"),
        names=("layer_1", "layer_2"),
        dropout=dropout,
        inner_dropout=dropout,
    )
    layers = layer(
        attention(shape),
        norm("layer_norm", hidden),
        mlp,
        norm("ff_layer_norm", hidden),
        repeat=config.layers("n_layer"),
    )
    rows = config.rows("vocab_size")
    table = Embedding("word_embedding", rows, hidden, Split.TENSOR, input=True)
    tied = config.flag("tie_word_embeddings")
    lm = Linear("lm_loss", hidden, rows, True, "column", tied=tied, head=True)
    summary = Block("summary", (Linear("summary", hidden, hidden, True),))
    tops: Mapping[str, Children] = {
        "LMHeadModel": (Block("head", (lm,)),),
        "XLNetModel": (),
        "ForSequenceClassification": (summary, classifier(hidden, labels(config))),
        "ForMultipleChoice": (summary, classifier(hidden, 1)),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnsweringSimple": (classifier(hidden, labels(config)),),
    }
    embedding = Block("embedding", (Parameter("mask_emb", (1, 1, hidden)), table))
    return encoder(config, hidden, (embedding, layers, *on_top(config, tops, "LMHeadModel")))


def xlm(config: Config) -> Network:
    """XLMWithLMHeadModel: an encoder with embeddings of languages."""
    config = read(config, XLM, {"n_words": "vocab_size", "hidden_size": "emb_dim"})
    if config.flag("asm"):
        raise refuse(config, "asm", "false")
    hidden, heads = config.integer("emb_dim"), config.integer("n_heads")
    dropout = probability(config, "dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, "n_heads"),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=config.flag("causal"),
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_lin", "k_lin", "v_lin", "out_lin"),
    )
    act = "gelu" if config.flag("gelu_activation") else "relu"
    mlp = plain_mlp(hidden, 4 * hidden, act, names=("lin1", "lin2"), dropout=dropout)
    layers = layer(
        attention(shape),
        norm("layer_norm1", hidden),
        mlp,
        norm("layer_norm2", hidden),
        repeat=config.layers("n_layers"),
    )
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    tables: list[Operator] = [
        Embedding("embeddings", rows, hidden, Split.TENSOR, input=True),
        Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden),
    ]
    if config.integer("n_langs", 0) > 1 and config.flag("use_lang_emb"):
        tables.append(Embedding("lang_embeddings", config.integer("n_langs"), hidden))
    tables.append(norm("layer_norm_emb", hidden))
    lm = Linear("proj", hidden, rows, True, "column", tied=tied, head=True)
    tops: Mapping[str, Children] = {
        "WithLMHeadModel": (Block("head", (lm,)),),
        "XLMModel": (),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnsweringSimple": (classifier(hidden, labels(config)),),
    }
    parts = (
        Block("embedding", (*tables, *dropped(hidden, dropout))),
        layers,
        *on_top(config, tops, "WithLMHeadModel"),
    )
    return encoder(config, hidden, parts)


def longformer(config: Config) -> Network:
    """LongformerForMaskedLM: attention within a window, and products for global tokens."""
    config = read(config, BERT | {"attention_window": 512})
    hidden = config.integer("hidden_size")

    def make(reach: int) -> Children:
        block, *rest = encoder_layer(config, hidden)
        return globally_read(block, hidden, reach), *rest

    layers = runs(windows_of(config, config.layers("num_hidden_layers")), make)
    tops = dict(roberta_tops(config, hidden, hidden))
    del tops["ForCausalLM"]
    tops["ForMultipleChoice"] = (pooler(hidden), classifier(hidden, 1))
    tops["ForQuestionAnswering"] = (classifier(hidden, labels(config), "qa_outputs"),)
    parts = (embeddings(config, hidden), *layers, *on_top(config, tops))
    return encoder(config, hidden, parts)


def windows_of(config: Config, count: int) -> list[int]:
    """`attention_window`: one number, or one for each layer."""
    given = config.get("attention_window")
    windows = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(windows) != count:
        raise refuse(config, "attention_window", "a number, or one for each layer")
    read_one = [Config({"attention_window": item}, path=config.path) for item in windows]
    return [item.integer("attention_window", 2) for item in read_one]


def globally_read(block: Block | Operator, hidden: int, reach: int) -> Block:
    """Longformer's attention: a window around each token, and products for global tokens.

    Global tokens are few: their products hold weights and do next to no work.
    """
    assert isinstance(block, Block)
    names = ("query_global", "key_global", "value_global")
    products = tuple(Linear(name, hidden, hidden, True, "column") for name in names)
    found = tuple(
        replace(child, window=reach + 1) if isinstance(child, Attention) else child
        for child in block.children
    )
    unused = Block("global", products, stream=Stream(0.0, 0.0))
    return replace(block, children=(*found, unused))


def nystromformer(config: Config) -> Network:
    """NystromformerForMaskedLM: attention through landmarks, and a convolution of the values."""
    config = read(config, NYSTROMFORMER)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    limit = config.rows("max_position_embeddings") + 2
    grown = Config({**config.data, "max_position_embeddings": limit}, config.defaults, config.path)
    kernel = config.optional("conv_kernel_size", 1)
    block, *rest = encoder_layer(config, hidden)
    assert isinstance(block, Block)
    if kernel:
        free = Parameter("conv", (heads, 1, kernel, 1), Split.TENSOR)
        block = replace(block, children=(*block.children, free))
    layers = layer(block, *rest, repeat=config.layers("num_hidden_layers"))
    tops = bert_tops(config, hidden, hidden)
    wanted: dict[str, Children] = {
        "ForMaskedLM": tops["ForMaskedLM"],
        "Model": (),
        "ForTokenClassification": tops["ForTokenClassification"],
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    parts = (embeddings(grown, hidden), layers, *on_top(config, wanted))
    return encoder(config, hidden, parts)


def fnet(config: Config) -> Network:
    """FNetForMaskedLM: Fourier transforms, which hold no weights, instead of attention."""
    config = read(config, FNET)
    hidden = config.integer("hidden_size")
    table = embeddings(config, hidden)
    project = Linear("projection", hidden, hidden, True)
    _, first, mlp, second = encoder_layer(
        Config({**config.data, "num_attention_heads": 1}, config.defaults, config.path), hidden
    )
    layers = layer(first, mlp, second, repeat=config.layers("num_hidden_layers"))
    tops = bert_tops(config, hidden, hidden)
    wanted = {name: (pooler(hidden), *tops[name]) for name in ("ForMaskedLM",)}
    wanted |= {name: tops[name] for name in tops if name not in ("ForMaskedLM", "LMHeadModel")}
    wanted["ForTokenClassification"] = (pooler(hidden), *tops["ForTokenClassification"])
    wanted["ForQuestionAnswering"] = (pooler(hidden), classifier(hidden, labels(config)))
    parts = (
        replace(table, children=(*table.children, project)),
        layers,
        *on_top(config, wanted),
    )
    return encoder(config, hidden, parts)


FAMILIES = {
    "deberta": deberta,
    "deberta-v2": deberta_v2,
    "fnet": fnet,
    "longformer": longformer,
    "modernbert": modernbert,
    "nomic_bert": nomic_bert,
    "nystromformer": nystromformer,
    "xlm": xlm,
    "xlnet": xlnet,
}
