"""Encoders that shorten, convolve or hash their sequence.

canine (Clark et al. 2021, arXiv 2103.06874), convbert (2008.02496), reformer (2001.04451).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bert import (
    BERT,
    classifier,
    embeddings,
    encoder,
    encoder_layer,
    norm,
    on_top,
    pooler,
)
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children, dropped, layer, plain_mlp
from service.core.architecture.families.pictures import whole_numbers
from service.core.architecture.families.trunk import agree, labels, probability, read, refuse, runs
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Embedding,
    Linear,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import Stream

CANINE = BERT | {
    "max_position_embeddings": 16384,
    "type_vocab_size": 16,
    "downsampling_rate": 4,
    "upsampling_kernel_size": 4,
    "num_hash_functions": 8,
    "num_hash_buckets": 16384,
    "local_transformer_stride": 128,
}
CONVBERT = BERT | {
    "embedding_size": 768,
    "head_ratio": 2,
    "conv_kernel_size": 9,
    "num_groups": 1,
}
REFORMER = {
    "vocab_size": 320,
    "attention_head_size": 64,
    "attn_layers": ["local", "lsh", "local", "lsh", "local", "lsh"],
    "axial_pos_embds": True,
    "axial_pos_shape": [64, 64],
    "axial_pos_embds_dim": [64, 192],
    "feed_forward_size": 512,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.05,
    "hidden_size": 256,
    "local_attn_chunk_length": 64,
    "lsh_attn_chunk_length": 64,
    "local_num_chunks_before": 1,
    "local_num_chunks_after": 0,
    "lsh_num_chunks_before": 1,
    "lsh_num_chunks_after": 0,
    "num_hashes": 1,
    "max_position_embeddings": 4096,
    "num_attention_heads": 12,
    "tie_word_embeddings": False,
}


def canine(config: Config) -> Network:
    """CanineModel: characters by hashing, a deep encoder on a quarter of the positions."""
    config = read(config, CANINE)
    hidden, hashes = config.integer("hidden_size"), config.integer("num_hash_functions")
    buckets, rate = config.rows("num_hash_buckets"), config.integer("downsampling_rate")
    act = Activation("activation", hidden, config.text("hidden_act"))
    table = Embedding("HashBucketCodepointEmbedder", buckets, hidden // hashes)
    embedding = Block(
        "embedding",
        (
            Block("hashes", (table,), repeat=hashes),
            Embedding("char_position_embeddings", buckets, hidden),
            Embedding("token_type_embeddings", config.rows("type_vocab_size"), hidden),
            norm("LayerNorm", hidden),
            *dropped(hidden, probability(config, "hidden_dropout_prob")),
        ),
    )
    children = encoder_layer(config, hidden)
    reach = config.integer("local_transformer_stride")
    shorter = Stream(0.0, 1.0 / rate)
    shorten = Convolution("conv", hidden, hidden, (rate,), input_positions=float(rate))
    kernel = config.integer("upsampling_kernel_size")
    parts: Children = (
        embedding,
        layer(_local(children[0], reach), *children[1:]),
        Block("downsample", (shorten, act, norm("LayerNorm", hidden)), stream=shorter),
        replace(layer(*children, repeat=config.layers("num_hidden_layers")), stream=shorter),
        Block(
            "projection",
            (Convolution("conv", 2 * hidden, hidden, (kernel,)), act, norm("LayerNorm", hidden)),
        ),
        layer(*children),
        pooler(hidden),
    )
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForSequenceClassification": (classifier(hidden, labels(config)),),
        "ForMultipleChoice": (classifier(hidden, 1),),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "Model")))
    return replace(network, vocabulary=0)


def _local(block: Block | Operator, reach: int) -> Block:
    """Attention that sees the chunks around it only."""
    assert isinstance(block, Block)
    found = tuple(
        replace(child, window=reach) if isinstance(child, Attention) else child
        for child in block.children
    )
    return replace(block, children=found)


def _span_attention(config: Config, hidden: int) -> Block:
    """Half of the heads attend, the other half convolve with kernels made of each position."""
    heads = max(1, config.integer("num_attention_heads") // config.integer("head_ratio"))
    if hidden % heads:
        raise ConfigError(config.where("head_ratio"), "head_ratio must leave heads that divide")
    width = hidden // heads // 2
    inner, kernel = heads * width, config.integer("conv_kernel_size")
    dropout = probability(config, "hidden_dropout_prob")
    names = ("query", "key", "value", "conv_out_layer")
    return Block(
        "attention",
        (
            *(Linear(name, hidden, inner, True, "column") for name in names),
            Convolution("depthwise", hidden, hidden, (kernel,), hidden, bias=False),
            Convolution("pointwise", hidden, inner, (1,), bias=False),
            Parameter("key_conv_attn_layer.bias", (inner, 1)),
            Linear("conv_kernel_layer", inner, heads * kernel, True),
            Attention(
                "attention", heads, heads, width, width, False,
                dropout=probability(config, "attention_probs_dropout_prob"),
            ),
            Linear("dense", hidden, hidden, True, "row"),
            *dropped(hidden, dropout),
        ),
    )  # fmt: skip


def convbert(config: Config) -> Network:
    """ConvBertForMaskedLM: attention mixed with dynamic convolutions."""
    config = read(config, CONVBERT)
    for name in ("is_decoder", "add_cross_attention"):
        if config.flag(name):
            raise refuse(config, name, "false")
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    heads, ratio = config.integer("num_attention_heads"), config.integer("head_ratio")
    # With an odd share of heads the attended and the convolved half do not fill the width.
    if hidden // max(1, heads // ratio) % 2:
        raise refuse(config, "head_ratio", "an even width for each head")
    _, first, mlp, second = encoder_layer(config, hidden)
    groups = config.integer("num_groups")
    if groups > 1:
        mlp = _grouped(config, mlp, groups)
    layers = layer(
        _span_attention(config, hidden),
        first,
        mlp,
        second,
        repeat=config.layers("num_hidden_layers"),
    )
    project: Children = ()
    if width != hidden:
        project = (Block("projection", (Linear("embeddings_project", width, hidden, True),)),)
    tied = config.flag("tie_word_embeddings")
    rows = config.rows("vocab_size")
    generator = Block(
        "head",
        (
            Linear("dense", hidden, width, True),
            Activation("act", width, "gelu"),
            norm("LayerNorm", width),
            Linear("generator_lm_head", width, rows, True, "column", tied=tied, head=True),
        ),
    )
    dense = Linear("dense", hidden, hidden, True)
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (generator,),
        "Model": (),
        "ForSequenceClassification": (
            Block("head", (dense, Linear("out_proj", hidden, labels(config), True))),
        ),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    parts = (embeddings(config, width), *project, layers, *on_top(config, tops))
    return encoder(config, hidden, parts)


def _grouped(config: Config, mlp: Block | Operator, groups: int) -> Block:
    """The feed-forward as products within groups of the width."""
    assert isinstance(mlp, Block)
    found: list[Block | Operator] = []
    for child in mlp.children:
        if isinstance(child, Linear):
            if child.inputs % groups or child.outputs % groups:
                raise refuse(config, "num_groups", "a divisor of the widths")
            found.append(Convolution(child.name, child.inputs, child.outputs, (1,), groups))
        else:
            found.append(child)
    return replace(mlp, children=tuple(found))


def _reformer_attention(config: Config, kind: str, hidden: int) -> Block:
    """Attention within chunks, of neighbours or of positions with one hash."""
    heads, width = config.integer("num_attention_heads"), config.integer("attention_head_size")
    inner = heads * width
    names = ("query", "key", "value") if kind == "local" else ("query_key", "value")
    chunk = config.integer(f"{kind}_attn_chunk_length")
    seen = 1 + config.integer(f"{kind}_num_chunks_before", 0)
    seen += config.integer(f"{kind}_num_chunks_after", 0)
    hashes = config.integer("num_hashes") if kind == "lsh" else 1
    causal = config.flag("is_decoder")
    return Block(
        "attention",
        (
            *(Linear(name, hidden, inner, False, "column") for name in names),
            Attention(
                "attention", heads, heads, width, width, causal, window=chunk * seen * hashes
            ),
            Linear("dense", inner, hidden, False, "row"),
        ),
    )


def reformer(config: Config) -> Network:
    """ReformerModel: reversible layers over two copies of the hidden states."""
    config = read(config, REFORMER)
    hidden, rows = config.integer("hidden_size"), config.rows("vocab_size")
    kinds = list(config.sequence("attn_layers"))
    if not kinds or any(kind not in ("local", "lsh") for kind in kinds):
        raise refuse(config, "attn_layers", "local, lsh")
    agree(config, "num_hidden_layers", len(kinds))
    inner, act = config.integer("feed_forward_size"), config.text("hidden_act")
    dropout = probability(config, "hidden_dropout_prob")
    mlp = plain_mlp(hidden, inner, act, names=("dense", "output"), dropout=dropout)

    def make(kind: str) -> Children:
        own = _reformer_attention(config, kind, hidden)
        return norm("attention_norm", hidden), own, norm("feed_forward_norm", hidden), mlp

    table = Embedding("word_embeddings", rows, hidden, Split.TENSOR, input=True)
    body = (
        Block("embedding", (table, *_places(config, hidden), *dropped(hidden, dropout))),
        *runs(kinds, make),
        Block("norm", (norm("layer_norm", 2 * hidden),)),
    )
    tied = config.flag("tie_word_embeddings")
    decoder = Linear("decoder", 2 * hidden, rows, False, "column", head=True)
    lm = Block("head", (decoder, Parameter("bias", (rows,), Split.TENSOR)))
    tops: dict[str, Children] = {"ReformerModel": ()}
    if not tied:
        tops |= {"ModelWithLMHead": (lm,), "ForMaskedLM": (lm,)}
    network = encoder(config, hidden, (*body, *on_top(config, tops, "ReformerModel")))
    return replace(network, causal=config.flag("is_decoder"))


def _places(config: Config, hidden: int) -> tuple[Operator, ...]:
    """Positions as one table, or as sums over axes of small ones."""
    if not config.flag("axial_pos_embds"):
        return (Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden),)
    shape = whole_numbers(config, "axial_pos_shape")
    widths = whole_numbers(config, "axial_pos_embds_dim")
    if len(shape) != len(widths) or sum(widths) != hidden:
        raise ConfigError(
            config.where("axial_pos_embds_dim"), "axial_pos_embds_dim must sum to hidden_size"
        )
    pairs = zip(shape, widths, strict=True)
    return tuple(Parameter(f"weights.{i}", (n, width)) for i, (n, width) in enumerate(pairs))


FAMILIES = {"canine": canine, "convbert": convbert, "reformer": reformer}
