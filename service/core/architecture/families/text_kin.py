"""Encoders and encoder-decoders of text with attention or positions of their own.

led (Beltagy et al. 2020, arXiv 2004.05150), prophetnet (2001.04063), convbert (2008.02496), canine
(2103.06874), t5gemma (2504.06225). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.core.architecture.families.bart import BART, Line, tower_layer
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
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    head,
    layer,
    plain_mlp,
)
from service.core.architecture.families.dense import biased, every, windows
from service.core.architecture.families.gemma import GEMMA2, geglu
from service.core.architecture.families.trunk import (
    head_width,
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
from service.core.architecture.polynomial import TOKENS, Stream

LED = BART | {
    "max_encoder_position_embeddings": 16384,
    "max_decoder_position_embeddings": 1024,
    "attention_window": 512,
}
PROPHETNET = {
    "vocab_size": 30522,
    "hidden_size": 1024,
    "encoder_ffn_dim": 4096,
    "num_encoder_layers": 12,
    "num_encoder_attention_heads": 16,
    "decoder_ffn_dim": 4096,
    "num_decoder_layers": 12,
    "num_decoder_attention_heads": 16,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "max_position_embeddings": 512,
    "ngram": 2,
    "num_buckets": 32,
    "add_cross_attention": True,
    "tie_word_embeddings": True,
}
CONVBERT = BERT | {"embedding_size": 768, "head_ratio": 2, "conv_kernel_size": 9, "num_groups": 1}
CANINE = {name: value for name, value in BERT.items() if name != "vocab_size"} | {
    "max_position_embeddings": 16384,
    "type_vocab_size": 16,
    "downsampling_rate": 4,
    "upsampling_kernel_size": 4,
    "num_hash_functions": 8,
    "num_hash_buckets": 16384,
    "local_transformer_stride": 128,
}


def _shared_tables(
    config: Config, hidden: int, name: str = "embed_tokens"
) -> tuple[Operator, Operator, Operator]:
    """The vocabulary's table, and its aliases in the encoder and in the decoder."""
    tied = config.flag("tie_word_embeddings")
    table = Embedding("shared", config.rows("vocab_size"), hidden, Split.TENSOR, input=True)
    alias = replace(table, tied=tied, input=False)
    return table, replace(alias, name=f"encoder.{name}"), replace(alias, name=f"decoder.{name}")


def led(config: Config) -> Network:
    """LEDForConditionalGeneration: BART with a windowed encoder."""
    config = read(config, LED)
    hidden, line = config.integer("d_model"), Line()
    table, first, second = _shared_tables(config, hidden)
    rest = norm("layernorm_embedding", hidden), *dropped(hidden, probability(config, "dropout"))
    tied, rows = config.flag("tie_word_embeddings"), config.rows("vocab_size")
    places = {
        tower: Embedding("embed_positions", config.rows(f"max_{tower}_position_embeddings"), hidden)
        for tower in ("encoder", "decoder")
    }
    decoder = tower_layer(config, "decoder", line, TOKENS)
    parts: Children = (
        Block("embedding", (table, first, places["encoder"], *rest)),
        *runs(_led_windows(config), lambda window: _led_layer(config, hidden, window)),
        Block("decoder_embedding", (second, places["decoder"], *rest)),
        layer(*decoder, repeat=config.layers("decoder_layers")),
    )
    tops: Mapping[str, Children] = {
        "ForConditionalGeneration": (head(hidden, rows, tied),),
        "Model": (),
    }
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "ForConditionalGeneration")))
    return replace(network, causal=True)


def _led_windows(config: Config) -> list[int]:
    count, given = config.layers("encoder_layers"), config.get("attention_window")
    items = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(items) != count:
        raise refuse(config, "attention_window", "a number, or one for each layer")
    found = Config({str(i): item for i, item in enumerate(items)}, path=config.path)
    return [found.integer(str(i), 2) for i in range(count)]


def _led_layer(config: Config, hidden: int, window: int) -> Children:
    block, *rest = tower_layer(config, "encoder", Line())
    assert isinstance(block, Block)
    local = tuple(
        replace(child, window=window + 1) if isinstance(child, Attention) else child
        for child in block.children
    )
    # Global tokens are few: their products hold weights and do next to no work.
    names = ("query_global", "key_global", "value_global")
    products = tuple(Linear(name, hidden, hidden, True, "column") for name in names)
    unused = Block("global", products, stream=Stream(0.0, 0.0))
    return (replace(block, children=(*local, unused)), *rest)


def prophetnet(config: Config) -> Network:
    """ProphetNetForConditionalGeneration: the decoder also runs on `ngram` predicting streams."""
    config = read(config, PROPHETNET)
    if not config.flag("add_cross_attention"):
        raise refuse(config, "add_cross_attention", "true")
    hidden, ngram = config.integer("hidden_size"), config.integer("ngram")
    table, first, second = _shared_tables(config, hidden, "word_embeddings")
    tied, rows = config.flag("tie_word_embeddings"), config.rows("vocab_size")
    places = Embedding("position_embeddings", config.rows("max_position_embeddings"), hidden)
    after = norm("embeddings_layer_norm", hidden)
    wide = Stream(0.0, 1.0 + ngram)
    body = layer(
        *_prophet_half(config, "encoder"),
        *_prophet_mlp(config, "encoder"),
        repeat=config.layers("num_encoder_layers"),
    )
    ahead = layer(
        *_prophet_ahead(config, ngram),
        *_prophet_half(config, "decoder", TOKENS),
        *_prophet_mlp(config, "decoder"),
        repeat=config.layers("num_decoder_layers"),
    )
    ngrams = Embedding("ngram_embeddings", ngram, hidden)
    parts: Children = (
        Block("embedding", (table, first, places, after)),
        body,
        Block("decoder_embedding", (second, places, ngrams, after), stream=wide),
        replace(ahead, stream=wide),
    )
    top = replace(head(hidden, rows, tied), stream=Stream(0.0, float(ngram)))
    tops: Mapping[str, Children] = {"ForConditionalGeneration": (top,), "ProphetNetModel": ()}
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "ForConditionalGeneration")))
    return replace(network, causal=True)


def _prophet_shape(config: Config, tower: str) -> AttentionShape:
    hidden, field = config.integer("hidden_size"), f"num_{tower}_attention_heads"
    heads = config.integer(field)
    return AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, field),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=probability(config, "dropout"),
        names=("query_proj", "key_proj", "value_proj", "out_proj"),
    )


def _prophet_half(config: Config, tower: str, source: Stream | None = None) -> Children:
    shape = _prophet_shape(config, tower)
    if source is not None:
        shape = replace(shape, keys=source, key_inputs=shape.hidden)
    name = "attention" if source is None else "cross_attention"
    return replace(attention(shape), name=name), norm("attn_layer_norm", shape.hidden)


def _prophet_ahead(config: Config, ngram: int) -> Children:
    """Self-attention of the main stream and of those that predict: these see both."""
    shape = _prophet_shape(config, "decoder")
    buckets = config.integer("num_buckets") * shape.heads
    seen = Stream(0.0, (1.0 + 2.0 * ngram) / (1.0 + ngram))
    made = tuple(
        replace(child, causal=True, keys=seen) if isinstance(child, Attention) else child
        for child in attention(shape).children
    )
    places = Linear("relative_pos_embeddings", shape.hidden, buckets, True)
    return Block("attention", (places, *made)), norm("self_attn_layer_norm", shape.hidden)


def _prophet_mlp(config: Config, tower: str) -> Children:
    hidden = config.integer("hidden_size")
    mlp = plain_mlp(
        hidden,
        config.integer(f"{tower}_ffn_dim"),
        config.text("activation_function"),
        names=("intermediate", "output"),
        dropout=probability(config, "dropout"),
        inner_dropout=probability(config, "activation_dropout"),
    )
    return mlp, norm("feed_forward_layer_norm", hidden)


def convbert(config: Config) -> Network:
    """ConvBertForMaskedLM: half of the heads are convolutions with kernels made from the input."""
    config = read(config, CONVBERT)
    for name in ("is_decoder", "add_cross_attention"):
        if config.flag(name):
            raise refuse(config, name, "false")
    hidden, width = config.integer("hidden_size"), config.integer("embedding_size")
    _, first, mlp, second = encoder_layer(config, hidden)
    assert isinstance(mlp, Block)
    body = layer(
        _span_attention(config, hidden),
        first,
        _grouped(config, mlp),
        second,
        repeat=config.layers("num_hidden_layers"),
    )
    project = (Linear("embeddings_project", width, hidden, True),) if width != hidden else ()
    rows, tied = config.rows("vocab_size"), config.flag("tie_word_embeddings")
    lm = (
        Linear("dense", hidden, width, True),
        Activation("act", width, "gelu"),
        norm("LayerNorm", width),
        Linear("generator_lm_head", width, rows, True, "column", tied=tied, head=True),
    )
    classes = Linear("dense", hidden, hidden, True), Linear("out", hidden, labels(config), True)
    tops: Mapping[str, Children] = {
        "ForMaskedLM": (Block("head", lm),),
        "Model": (),
        "ForSequenceClassification": (Block("head", classes),),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    projected = (Block("projection", project),) if project else ()
    parts = (embeddings(config, width), *projected, body, *on_top(config, tops))
    return encoder(config, hidden, parts)


def _span_attention(config: Config, hidden: int) -> Block:
    heads = max(1, config.integer("num_attention_heads") // config.integer("head_ratio"))
    dim = head_width(config, hidden, heads) // 2
    inner, kernel = heads * dim, config.integer("conv_kernel_size")
    if 2 * inner != hidden:
        raise refuse(config, "hidden_size", "a multiple of twice the heads")
    products = tuple(
        Linear(name, hidden, inner, True, "column", keeps_input=name == "query")
        for name in ("query", "key", "value", "conv_out_layer")
    )
    convolved = (
        Convolution("depthwise", hidden, hidden, (kernel,), hidden, bias=False),
        Convolution("pointwise", hidden, inner, (1,), bias=False),
        Parameter("key_conv_bias", (inner, 1)),
        Linear("conv_kernel_layer", inner, heads * kernel, True),
    )
    dropout = probability(config, "attention_probs_dropout_prob")
    inside = Attention("attention", heads, heads, dim, dim, causal=False, dropout=dropout)
    last = Linear("dense", hidden, hidden, True, "row")
    left = dropped(hidden, probability(config, "hidden_dropout_prob"))
    return Block("attention", (*products, *convolved, inside, last, *left))


def _grouped(config: Config, mlp: Block) -> Block:
    """The feed-forward with products in groups of channels, where the config asks for it."""
    groups = config.integer("num_groups")
    if groups == 1:
        return mlp
    sizes = config.integer("hidden_size"), config.integer("intermediate_size")
    if any(size % groups for size in sizes):
        raise refuse(config, "num_groups", "a divisor of hidden_size and intermediate_size")
    found = tuple(
        Convolution(child.name, child.inputs, child.outputs, (1,), groups)
        if isinstance(child, Linear)
        else child
        for child in mlp.children
    )
    return replace(mlp, children=found)


def canine(config: Config) -> Network:
    """CanineModel: characters, of which a deep encoder sees one in `downsampling_rate`."""
    config = read(config, CANINE)
    hidden, rate = config.integer("hidden_size"), config.integer("downsampling_rate")
    act = config.text("hidden_act")
    count = config.integer("num_hash_functions")
    buckets = config.rows("num_hash_buckets")
    tables = [
        Embedding(f"HashBucketCodepointEmbedder_{i}", buckets, hidden // count)
        for i in range(min(count, 1024))
    ]
    if len(tables) != count:
        raise refuse(config, "num_hash_functions", "at most 1024")
    tables += [
        Embedding("char_position_embeddings", buckets, hidden),
        Embedding("token_type_embeddings", config.rows("type_vocab_size"), hidden),
    ]
    shallow, deep = encoder_layer(config, hidden), TOKENS.divided(rate)
    block = shallow[0]
    assert isinstance(block, Block)
    reach = config.integer("local_transformer_stride")
    local = tuple(
        replace(child, window=reach) if isinstance(child, Attention) else child
        for child in block.children
    )
    last = norm("LayerNorm", hidden)
    down = Convolution("conv", hidden, hidden, (rate,), input_positions=float(rate))
    up = Convolution("conv", 2 * hidden, hidden, (config.integer("upsampling_kernel_size"),))
    whole = Activation("act", hidden, act, split=Split.WHOLE)
    parts: Children = (
        Block("embedding", (*tables, last)),
        layer(replace(block, children=local), *shallow[1:]),
        Block("downsample", (down, whole, last), stream=deep),
        replace(layer(*shallow, repeat=config.layers("num_hidden_layers")), stream=deep),
        Block("upsample", (up, whole, last)),
        layer(*shallow),
        pooler(hidden),
    )
    tops: Mapping[str, Children] = {
        "Model": (),
        "ForSequenceClassification": (classifier(hidden, labels(config)),),
        "ForMultipleChoice": (classifier(hidden, 1),),
        "ForTokenClassification": (classifier(hidden, labels(config)),),
        "ForQuestionAnswering": (classifier(hidden, labels(config), "qa_outputs"),),
    }
    return encoder(config, hidden, (*parts, *on_top(config, tops, "Model")))


def t5gemma(config: Config) -> Network:
    """T5GemmaForConditionalGeneration: two Gemma 2 towers, the second one with cross attention."""
    config = read(config, {"tie_word_embeddings": True})
    towers = {name: read(config.section(name), GEMMA2) for name in ("encoder", "decoder")}
    source, target = towers["encoder"], towers["decoder"]
    width, hidden = source.integer("hidden_size"), target.integer("hidden_size")
    rows = target.rows("vocab_size")
    tables = {
        name: Embedding(
            f"{name}.embed_tokens",
            tower.rows("vocab_size"),
            tower.integer("hidden_size"),
            Split.TENSOR,
            input=name == "encoder",
        )
        for name, tower in towers.items()
    }
    parts: Children = (
        Block("embedding", (tables["encoder"],)),
        *runs(windows(source, every(2)), lambda size: _gemma_layer(source, size, None)),
        Block("norm", (Norm("norm", width),)),
        Block("decoder_embedding", (tables["decoder"],)),
        *runs(windows(target, every(2)), lambda size: _gemma_layer(target, size, width)),
        Block("decoder_norm", (Norm("norm", hidden),)),
    )
    tied = config.flag("tie_word_embeddings")
    tops: Mapping[str, Children] = {
        "ForConditionalGeneration": (head(hidden, rows, tied, name="lm_head.out_proj"),),
        "T5GemmaModel": (),
    }
    top = on_top(config, tops, "ForConditionalGeneration")
    network = encoder(config, hidden, (*parts, *top))
    limit = target.integer("max_position_embeddings")
    return replace(network, causal=True, vocabulary=rows, sequence_limit=limit)


def _gemma_layer(config: Config, window: int | None, source: int | None) -> Children:
    """Gemma 2's layer; with cross attention to vectors of `source` elements where given."""
    shape = replace(biased(config), window=window, causal=source is not None)
    hidden = shape.hidden
    halves = [("self_attn", attention(shape))]
    if source is not None:
        crossed = replace(
            shape, causal=False, window=None, rotary=False, keys=TOKENS, key_inputs=source
        )
        halves.append(("cross_attn", replace(attention(crossed), name="cross_attention")))
    halves.append(("feedforward", geglu(config)))
    found: list[Block | Operator] = []
    for name, block in halves:
        before, after = (Norm(f"{side}_{name}_layernorm", hidden) for side in ("pre", "post"))
        found += [before, block, after]
    return tuple(found)


FAMILIES = {
    "canine": canine,
    "convbert": convbert,
    "led": led,
    "prophetnet": prophetnet,
    "t5gemma": t5gemma,
}
