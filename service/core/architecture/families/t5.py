"""The T5 line: encoder and decoder with relative position biases and norms without mean.

t5 (Raffel et al. 2019, arXiv 1910.10683), mt5 (2010.11934), umt5, longt5 (2112.07916) and
switch_transformers (Fedus et al. 2021, 2101.03961). Both towers run the request's sequence
length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    gated_mlp,
    head,
    layer,
    mixture,
    plain_mlp,
)
from service.core.architecture.families.encoder import encoder, on_top
from service.core.architecture.families.trunk import agree, named_class, probability, read, refuse
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm, Operator, Split
from service.core.architecture.polynomial import TOKENS
from service.core.architecture.tree import Block

T5 = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "dropout_rate": 0.1,
    "feed_forward_proj": "relu",
    "tie_word_embeddings": True,
}
MT5 = T5 | {
    "vocab_size": 250112,
    "d_ff": 1024,
    "num_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
}
SWITCH = T5 | {
    "d_model": 768,
    "num_layers": 12,
    "num_heads": 12,
    "num_experts": 8,
    "num_sparse_encoder_layers": 3,
    "num_sparse_decoder_layers": 3,
    "router_bias": False,
}


def _shape(config: Config) -> AttentionShape:
    heads = config.integer("num_heads")
    return AttentionShape(
        config.integer("d_model"),
        heads,
        heads,
        config.integer("d_kv"),
        rotary=False,
        causal=False,
        dropout=probability(config, "dropout_rate"),
        residual_dropout=probability(config, "dropout_rate"),
        names=("q", "k", "v", "o"),
    )


def _reach(config: Config) -> int | None:
    """Tokens that one of a local encoder sees: itself and so many on either side."""
    if config.get("encoder_attention_type") != "local":
        return None
    return 2 * config.integer("local_radius") + 1


def _mlp(config: Config) -> Block:
    hidden, inner = config.integer("d_model"), config.integer("d_ff")
    kind = config.text("feed_forward_proj")
    dropout = probability(config, "dropout_rate")
    if config.get("is_gated_act") not in (None, kind.startswith("gated-")):
        raise refuse(config, "is_gated_act", "what feed_forward_proj says")
    if kind.startswith("gated-"):
        act = "gelu_new" if kind == "gated-gelu" else kind.removeprefix("gated-")
        block = gated_mlp(hidden, inner, act, names=("wi_0", "wi_1", "wo"), inner_dropout=dropout)
        return replace(block, children=(*block.children, *dropped(hidden, dropout)))
    if "-" in kind:
        raise refuse(config, "feed_forward_proj", "ACT, gated-ACT")
    return plain_mlp(hidden, inner, kind, False, ("wi", "wo"), dropout, inner_dropout=dropout)


def _biased(config: Config, block: Block, extra: tuple[Operator, ...] = ()) -> Block:
    """The attention of a tower's first layer, which holds the position biases of all of them."""
    buckets, heads = config.integer("relative_attention_num_buckets"), config.integer("num_heads")
    table = Embedding("relative_attention_bias", buckets, heads)
    return replace(block, children=(table, *extra, *block.children))


def _layers(
    config: Config, count: int, mlps: list[Block], decoder: bool, each_biased: bool, globally: bool
) -> Children:
    hidden = config.integer("d_model")
    shape = replace(_shape(config), causal=decoder, window=None if decoder else _reach(config))
    own = attention(shape)
    norm = Norm("layer_norm", hidden)
    crossed: Children = ()
    if decoder:
        cross = replace(shape, causal=False, keys=TOKENS, key_inputs=hidden)
        crossed = (norm, replace(attention(cross), name="cross_attention"))
    buckets, heads = config.integer("relative_attention_num_buckets"), config.integer("num_heads")
    table = Embedding("global_relative_attention_bias", buckets, heads)
    extra = (table, Norm("global_input_layer_norm", hidden)) if globally else ()
    plain_extra = extra[1:]
    blocks: list[Block] = []
    for index in range(count):
        biased = each_biased or index == 0
        first = _biased(config, own, extra) if biased else own
        if not biased and plain_extra:
            first = replace(own, children=(*plain_extra, *own.children))
        made = layer(norm, first, *crossed, norm, mlps[index])
        if blocks and blocks[-1].children == made.children:
            blocks[-1] = replace(blocks[-1], repeat=blocks[-1].repeat + 1)
        else:
            blocks.append(made)
    return tuple(blocks)


def _network(
    config: Config,
    mlps: tuple[list[Block], list[Block]],
    each_biased: bool = False,
    globally: bool = False,
    shares: bool = True,
) -> Network:
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    dropout = dropped(hidden, probability(config, "dropout_rate"))
    last = Block("norm", (Norm("final_layer_norm", hidden), *dropout))
    table = Embedding("shared", rows, hidden, Split.TENSOR, input=True)
    tied = config.flag("tie_word_embeddings")
    alias = replace(table, tied=tied or shares, input=False)
    aliases = (
        replace(alias, name="encoder.embed_tokens"),
        replace(alias, name="decoder.embed_tokens"),
    )
    towers = (
        _layers(config, len(mlps[0]), mlps[0], False, each_biased, globally),
        _layers(config, len(mlps[1]), mlps[1], True, each_biased, False),
    )
    parts: Children = (
        Block("embedding", (table, *aliases, *dropout)),
        *towers[0],
        last,
        Block("decoder_input", dropout),
        *towers[1],
        last,
    )
    if named_class(config).endswith(("EncoderModel", "EncoderForSequenceClassification")):
        return _encoder_alone(config, (table, aliases[0], *dropout), towers[0], last)
    tops: dict[str, Children] = {
        "ForConditionalGeneration": (head(hidden, rows, tied),),
        "WithLMHeadModel": (head(hidden, rows, tied),),
        "Model": (),
    }
    network = encoder(config, hidden, (*parts, *on_top(config, tops, "ForConditionalGeneration")))
    return replace(network, causal=True)


def _encoder_alone(
    config: Config, embedding: tuple[Operator, ...], layers: Children, last: Block
) -> Network:
    """T5EncoderModel and its kin."""
    if config.flag("is_decoder"):
        raise refuse(config, "is_decoder", "false")
    parts = (Block("embedding", embedding), *layers, last)
    top = on_top(config, {"EncoderModel": ()})
    return encoder(config, config.integer("d_model"), (*parts, *top))


def _counts(config: Config) -> tuple[int, int]:
    layers = config.layers("num_layers")
    given = config.get("num_decoder_layers")
    return layers, layers if given is None else config.layers("num_decoder_layers")


def _dense(config: Config) -> tuple[list[Block], list[Block]]:
    block = _mlp(config)
    encoders, decoders = _counts(config)
    return [block] * encoders, [block] * decoders


def t5(config: Config) -> Network:
    """T5ForConditionalGeneration."""
    config = read(config, T5)
    return _network(config, _dense(config))


def mt5(config: Config) -> Network:
    """MT5ForConditionalGeneration: T5 with a gated feed-forward."""
    config = read(config, MT5)
    return _network(config, _dense(config))


def umt5(config: Config) -> Network:
    """UMT5ForConditionalGeneration: position biases in each layer."""
    config = read(config, MT5)
    return _network(config, _dense(config), each_biased=True)


def longt5(config: Config) -> Network:
    """LongT5ForConditionalGeneration: a local or transient-global encoder."""
    config = read(config, T5 | {"encoder_attention_type": "local", "local_radius": 127})
    kind = config.text("encoder_attention_type")
    if kind not in ("local", "transient-global"):
        raise refuse(config, "encoder_attention_type", "local, transient-global")
    return _network(config, _dense(config), globally=kind == "transient-global")


def switch_transformers(config: Config) -> Network:
    """SwitchTransformersForConditionalGeneration: every n-th feed-forward has one of E experts."""
    config = read(config, SWITCH)
    dense = _mlp(config)
    sparse = mixture(
        config.integer("d_model"),
        dense,
        config.integer("num_experts"),
        1,
        config.flag("router_bias"),
        router="classifier",
    )
    encoders, decoders = _counts(config)
    return _network(
        config,
        (
            _interleaved(config, encoders, "encoder", dense, sparse),
            _interleaved(config, decoders, "decoder", dense, sparse),
        ),
        shares=False,
    )


def _interleaved(
    config: Config, count: int, tower: str, dense: Block, sparse: Block
) -> list[Block]:
    wanted = config.integer(f"num_sparse_{tower}_layers", 0)
    step = count // wanted if wanted else count
    if step:
        agree(config, f"{tower}_sparse_step", step)
    return [
        sparse if step == 1 or (step and index % step == 1) else dense for index in range(count)
    ]


FAMILIES = {
    "longt5": longt5,
    "mt5": mt5,
    "switch_transformers": switch_transformers,
    "t5": t5,
    "umt5": umt5,
}
