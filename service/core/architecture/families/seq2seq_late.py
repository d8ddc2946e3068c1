"""More encoder-decoders of the BART line.

mvp (Tang et al. 2022, arXiv 2206.12131), nllb-moe (2207.04672), pegasus_x (2208.04347),
bigbird_pegasus (2007.14062), speech_to_text (2010.05171). Defaults are those of transformers
5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import BART, M2M, Line, seq2seq, tower_layer
from service.core.architecture.families.bert import encoder, norm, on_top
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, head, layer, mixture
from service.core.architecture.families.pictures import whole_numbers
from service.core.architecture.families.seq2seq_kin import CLASS, shared_tables
from service.core.architecture.families.trunk import probability, read, refuse, runs
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Embedding,
    Linear,
    Operator,
    Split,
)
from service.core.architecture.polynomial import TOKENS, Stream, fixed

NLLB_MOE = M2M | {
    "num_experts": 128,
    "encoder_sparse_step": 4,
    "decoder_sparse_step": 4,
    "router_bias": False,
}
PEGASUS_X = BART | {
    "vocab_size": 96103,
    "max_position_embeddings": 16384,
    "encoder_layers": 16,
    "decoder_layers": 16,
    "num_global_tokens": 32,
    "block_size": 512,
}
BIGBIRD = PEGASUS_X | {
    "max_position_embeddings": 4096,
    "activation_function": "gelu_new",
    "attention_type": "block_sparse",
    "block_size": 64,
    "num_random_blocks": 3,
    "use_bias": False,
}
SPEECH = BART | {
    "vocab_size": 10000,
    "encoder_ffn_dim": 2048,
    "encoder_attention_heads": 4,
    "decoder_layers": 6,
    "decoder_ffn_dim": 2048,
    "decoder_attention_heads": 4,
    "activation_function": "relu",
    "d_model": 256,
    "max_source_positions": 6000,
    "max_target_positions": 1024,
    "num_conv_layers": 2,
    "conv_kernel_sizes": [5, 5],
    "conv_channels": 1024,
    "input_feat_per_channel": 80,
    "input_channels": 1,
}
PRE = Line(before=True, position_offset=None, embedding_norm=False)


def mvp(config: Config) -> Network:
    """MvpForConditionalGeneration: BART, without the prompts that may be tuned on it."""
    config = read(config, BART | {"vocab_size": 50267})
    if config.flag("use_prompt"):
        raise refuse(config, "use_prompt", "false")
    return seq2seq(config, Line(position_offset=2))


def _end(config: Config, name: str) -> Block:
    return Block(name, (norm("layer_norm", config.integer("d_model")),))


def _finished(config: Config, parts: Children) -> Network:
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    tied = config.flag("tie_word_embeddings")
    tops: dict[str, Children] = {CLASS: (head(hidden, rows, tied),), "Model": ()}
    return replace(encoder(config, hidden, (*parts, *on_top(config, tops, CLASS))), causal=True)


def nllb_moe(config: Config) -> Network:
    """NllbMoeForConditionalGeneration: every n-th feed-forward has two of E experts."""
    config = read(config, NLLB_MOE)
    hidden = config.integer("d_model")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))

    def tower(side: str) -> Children:
        step = config.integer(f"{side}_sparse_step", 0)
        source = TOKENS if side == "decoder" else None
        *rest, dense = tower_layer(config, side, PRE, source)
        assert isinstance(dense, Block)
        count, bias = config.integer("num_experts"), config.flag("router_bias")
        sparse = mixture(hidden, dense, count, min(2, count), bias, router="classifier")
        layers = range(config.layers(f"{side}_layers"))
        pattern = [bool(step) and (index + 1) % step == 0 for index in layers]
        return runs(pattern, lambda is_sparse: (*rest, sparse if is_sparse else dense))

    parts = (
        Block("embedding", (shared, heard, *dropout)),
        *tower("encoder"),
        _end(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, *dropout)),
        *tower("decoder"),
        _end(config, "decoder_norm"),
    )
    return _finished(config, parts)


def _unbiased(node: Block | Operator, bias: bool = False) -> Block | Operator:
    """Attention products without biases."""
    if isinstance(node, Block):
        return replace(node, children=tuple(_unbiased(child, bias) for child in node.children))
    return replace(node, bias=bias) if isinstance(node, Linear) else node


def _bare(parts: Children, bias: bool = False) -> Children:
    """A layer whose attention blocks have no biases (or only where the config says so)."""
    named = ("attention", "cross_attention")
    return tuple(_unbiased(part, bias) if part.name in named else part for part in parts)


def _windowed(parts: Children, reach: int) -> Children:
    def seen(node: Block | Operator) -> Block | Operator:
        if isinstance(node, Block):
            return replace(node, children=tuple(map(seen, node.children)))
        return replace(node, window=reach) if isinstance(node, Attention) else node

    return tuple(seen(part) for part in parts)


def pegasus_x(config: Config) -> Network:
    """PegasusXForConditionalGeneration: local blocks and global tokens."""
    config = read(config, PEGASUS_X)
    hidden = config.integer("d_model")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))
    count = config.rows("num_global_tokens")
    globally = Embedding("embed_global", count, hidden)
    listening = _bare(tower_layer(config, "encoder", PRE))
    reach = config.integer("block_size") + count
    beside = norm("global_self_attn_layer_norm", hidden)
    parts = (
        Block("embedding", (shared, heard, globally, *dropout)),
        layer(*_windowed(listening, reach), beside, repeat=config.layers("encoder_layers")),
        _end(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, *dropout)),
        layer(
            *_bare(tower_layer(config, "decoder", PRE, TOKENS)),
            repeat=config.layers("decoder_layers"),
        ),
        _end(config, "decoder_norm"),
    )
    return _finished(config, parts)


def bigbird_pegasus(config: Config) -> Network:
    """BigBirdPegasusForConditionalGeneration: block-sparse attention in the encoder."""
    config = read(config, BIGBIRD)
    hidden, kind = config.integer("d_model"), config.text("attention_type")
    if kind not in ("block_sparse", "original_full"):
        raise refuse(config, "attention_type", "block_sparse, original_full")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))
    places = Embedding("embed_positions", config.rows("max_position_embeddings"), hidden)
    bias = config.flag("use_bias")
    listening = _bare(tower_layer(config, "encoder", PRE), bias)
    if kind == "block_sparse":
        blocks = 5 + config.integer("num_random_blocks", 0)
        listening = _windowed(listening, config.integer("block_size") * blocks)
    speaking = _bare(tower_layer(config, "decoder", PRE, TOKENS), bias)
    parts = (
        Block("embedding", (shared, heard, places, *dropout)),
        layer(*listening, repeat=config.layers("encoder_layers")),
        _end(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, places, *dropout)),
        layer(*speaking, repeat=config.layers("decoder_layers")),
        _end(config, "decoder_norm"),
    )
    return _finished(config, parts)


def speech_to_text(config: Config) -> Network:
    """Speech2TextForConditionalGeneration: strided convolutions, then BART's towers."""
    config = read(config, SPEECH)
    hidden, rows = config.integer("d_model"), config.rows("vocab_size")
    kernels = whole_numbers(config, "conv_kernel_sizes")
    middle = config.integer("conv_channels")
    if len(kernels) != config.integer("num_conv_layers") or middle % 2:
        raise refuse(config, "conv_kernel_sizes", "one size for each of num_conv_layers")
    frames = config.integer("max_source_positions")
    inputs = config.integer("input_feat_per_channel") * config.integer("input_channels")
    blocks: list[Block] = []
    for index, kernel in enumerate(kernels):
        frames = max(1, -(-frames // 2))
        outputs = middle if index + 1 < len(kernels) else 2 * hidden
        convolution = Convolution("conv", inputs, outputs, (kernel,), input_positions=2.0)
        act = Activation("glu", outputs // 2, "glu", gated=True)
        blocks.append(Block("audio_embedding", (convolution, act), stream=fixed(frames)))
        inputs = outputs // 2
    stream: Stream = fixed(frames)
    listening = layer(*tower_layer(config, "encoder", PRE), repeat=config.layers("encoder_layers"))
    speaking = layer(
        *tower_layer(config, "decoder", PRE, stream), repeat=config.layers("decoder_layers")
    )
    table = Embedding("embed_tokens", rows, hidden, Split.TENSOR, input=True)
    parts = (
        *blocks,
        replace(listening, stream=stream),
        replace(_end(config, "encoder_norm"), stream=stream),
        Block("embedding", (table, *dropped(hidden, probability(config, "dropout")))),
        speaking,
        _end(config, "decoder_norm"),
    )
    return replace(_finished(config, parts), sequence_limit=config.integer("max_target_positions"))


FAMILIES = {
    "bigbird_pegasus": bigbird_pegasus,
    "mvp": mvp,
    "nllb-moe": nllb_moe,
    "pegasus_x": pegasus_x,
    "speech_to_text": speech_to_text,
}
