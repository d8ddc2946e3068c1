"""Speech encoders on the raw waveform: convolutions to frames, then a transformer.

wav2vec2 (Baevski et al. 2020, arXiv 2006.11477), hubert (2106.07447), wavlm (2110.13900),
wav2vec2-conformer (2005.08100, 2010.05171), sew (2109.06870), unispeech (2101.07597) and
unispeech-sat (2110.05752). The length of a recording stands in no config: the request's sequence
counts the frames that the convolutions give (20 ms each with the published strides), and the
convolutions before run on as many positions more as their strides skip. Defaults are those of
transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from service.core.architecture.families.bert import classifier, encoder, norm, on_top
from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    dropped,
    layer,
    plain_mlp,
)
from service.core.architecture.families.pictures import stages
from service.core.architecture.families.trunk import head_width, labels, probability, read, refuse
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Pool,
    Split,
)
from service.core.architecture.polynomial import TOKENS, Stream

WAV2VEC2 = {
    "vocab_size": 32,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
    "feat_proj_layer_norm": True,
    "num_codevectors_per_group": 320,
    "num_codevector_groups": 2,
    "codevector_dim": 256,
    "proj_codevector_dim": 256,
    "classifier_proj_size": 256,
    "adapter_kernel_size": 3,
    "adapter_stride": 2,
    "num_adapter_layers": 3,
    "num_buckets": 320,
}
CONFORMER = WAV2VEC2 | {
    "vocab_size": None,
    "position_embeddings_type": "relative",
    "conv_depthwise_kernel_size": 31,
}
SEW = WAV2VEC2 | {
    "squeeze_factor": 2,
    "conv_dim": [64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512],
    "conv_stride": [5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1],
    "conv_kernel": [10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1],
}
STABLE = "do_stable_layer_norm"


def _features(config: Config) -> tuple[Block, ...]:
    """The convolutions on the waveform, each on its own positions."""
    kind = config.text("feat_extract_norm")
    if kind not in ("group", "layer"):
        raise refuse(config, "feat_extract_norm", "group, layer")
    found, inputs, bias = [], 1, config.flag("conv_bias")
    steps = stages(config, "conv_dim", "conv_kernel", "conv_stride")
    after = 1.0
    for _, _, stride in steps:
        after *= stride
    for index, (width, kernel, stride) in enumerate(steps):
        after /= stride
        made: list[Operator] = [
            Convolution("conv", inputs, width, (kernel,), bias=bias, input_positions=float(stride))
        ]
        if kind == "layer":
            made.append(norm("layer_norm", width))
        elif not index:
            made.append(Norm("layer_norm", width, "group", bias=True))
        act = Activation("act", width, config.text("feat_extract_activation"), split=Split.WHOLE)
        found.append(Block("features", (*made, act), stream=Stream(0.0, after)))
        inputs = width
    return tuple(found)


def _projection(config: Config, hidden: int, always: bool = True) -> Block:
    """Features to the transformer's width; `always` even where the widths agree."""
    width = stages(config, "conv_dim")[-1][0]
    first = (norm("layer_norm", width),) if config.flag("feat_proj_layer_norm") else ()
    linear = (Linear("projection", width, hidden, True),) if always or width != hidden else ()
    free: tuple[Operator, ...] = ()
    masked = max(config.number("mask_time_prob"), config.number("mask_feature_prob")) > 0
    if masked or config.text("model_type") == "unispeech-sat":
        free = (Parameter("masked_spec_embed", (hidden,)),)
    return Block("feature_projection", (*first, *linear, *free))


def _positions(config: Config, hidden: int) -> tuple[Operator, ...]:
    """A grouped convolution along the frames, with a normalised weight, instead of positions."""
    kernel, groups = (
        config.integer("num_conv_pos_embeddings"),
        config.integer("num_conv_pos_embedding_groups"),
    )
    if hidden % groups:
        raise ConfigError(
            config.where("num_conv_pos_embedding_groups"),
            "num_conv_pos_embedding_groups must divide hidden_size",
        )
    scale: Operator = Parameter("weight_norm", (1, 1, kernel))
    if config.flag("conv_pos_batch_norm"):
        scale = Norm("batch_norm", hidden, "batch", bias=True)
    act = Activation("act", hidden, config.text("feat_extract_activation"), split=Split.WHOLE)
    return Convolution("pos_conv_embed", hidden, hidden, (kernel,), groups), scale, act


def _shape(config: Config, hidden: int) -> AttentionShape:
    heads = config.integer("num_attention_heads")
    return AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads),
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=probability(config, "hidden_dropout"),
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )


def _feed_forward(config: Config, hidden: int, name: str = "feed_forward") -> Block:
    return plain_mlp(
        hidden,
        config.integer("intermediate_size"),
        config.text("hidden_act"),
        names=("intermediate_dense", "output_dense"),
        dropout=probability(config, "hidden_dropout"),
        inner_dropout=probability(config, "activation_dropout"),
        name=name,
    )


def _layers(config: Config, hidden: int) -> Children:
    block, mlp = attention(_shape(config, hidden)), _feed_forward(config, hidden)
    first, second = norm("layer_norm", hidden), norm("final_layer_norm", hidden)
    count = config.layers("num_hidden_layers")
    if not config.flag(STABLE):
        return (layer(block, first, mlp, second, repeat=count),)
    return (layer(first, block, second, mlp, *_attention_adapter(config, hidden), repeat=count),)


def _attention_adapter(config: Config, hidden: int) -> Children:
    """The small network after each layer that one language is adapted with (MMS)."""
    width = config.optional("adapter_attn_dim", 1)
    if width is None:
        return ()
    first, second = Linear("linear_1", hidden, width, True), Linear("linear_2", width, hidden, True)
    return (Block("adapter", (norm("norm", hidden), first, Activation("act", width), second)),)


def _adapter(config: Config, hidden: int) -> tuple[tuple[Block, ...], int]:
    """Convolutions that shorten what the encoder gives, and the width after them."""
    if not config.flag("add_adapter"):
        return (), hidden
    width = config.optional("output_hidden_size", 1) or hidden
    found: list[Block] = []
    if width != hidden:
        parts = (Linear("proj", hidden, width, True), norm("proj_layer_norm", width))
        found.append(Block("adapter", parts))
    stride, stream = config.integer("adapter_stride"), TOKENS
    for _ in range(config.layers("num_adapter_layers")):
        stream = stream.divided(stride)
        kernel = (config.integer("adapter_kernel_size"),)
        conv = Convolution("conv", width, 2 * width, kernel, input_positions=float(stride))
        gate = Activation("glu", width, "sigmoid", gated=True, split=Split.WHOLE)
        found.append(Block("adapter", (conv, gate), stream=stream))
    return tuple(found), width


def _tops(config: Config, hidden: int, width: int, pretrained: bool) -> Mapping[str, Children]:
    rows = config.rows("vocab_size") if config.get("vocab_size") is not None else 0
    layers = config.layers("num_hidden_layers") + 1
    summed: tuple[Operator, ...] = ()
    if config.flag("use_weighted_layer_sum"):
        summed = (Parameter("layer_weights", (layers,)),)
    inner = config.integer("classifier_proj_size")
    classes = (
        Linear("projector", hidden, inner, True),
        Linear("classifier", inner, labels(config), True),
    )
    tops: dict[str, Children] = {
        "Model": (),
        "ForAudioFrameClassification": (*summed, classifier(hidden, labels(config))),
    }
    if rows:
        tops["ForCTC"] = (Block("head", (Linear("lm_head", width, rows, True, head=True),)),)
    if not config.flag("add_adapter"):
        tops["ForSequenceClassification"] = (Block("head", (*summed, *classes)),)
    if pretrained:
        tops["ForPreTraining"] = (_quantizer(config, hidden),)
    return tops


def _quantizer(config: Config, hidden: int) -> Block:
    """The discrete targets that wav2vec 2.0 is trained against."""
    width, groups = stages(config, "conv_dim")[-1][0], config.integer("num_codevector_groups")
    entries = groups * config.integer("num_codevectors_per_group")
    vector, inner = config.integer("codevector_dim"), config.integer("proj_codevector_dim")
    parts = (
        Parameter("codevectors", (1, entries, vector // groups)),
        Linear("weight_proj", width, entries, True),
        Linear("project_hid", hidden, inner, True),
        Linear("project_q", vector, inner, True),
    )
    return Block("head", parts)


def _network(config: Config, body: Children, pretrained: bool = False) -> Network:
    """Features, their projection, positions, the layers given, and the class on top."""
    hidden = config.integer("hidden_size")
    last = (norm("layer_norm", hidden),)
    dropout = dropped(hidden, probability(config, "hidden_dropout"))
    places = _positions(config, hidden)
    late = config.flag(STABLE)
    parts: Children = (
        *_features(config),
        _projection(config, hidden),
        Block("positions", (*places, *(() if late else last), *dropout)),
        *body,
        *((Block("norm", last),) if late else ()),
    )
    adapter, width = _adapter(config, hidden)
    top = on_top(config, _tops(config, hidden, width, pretrained), "Model")
    return encoder(config, hidden, (*parts, *adapter, *top))


def wav2vec2(config: Config) -> Network:
    """Wav2Vec2Model and its classes."""
    config = read(config, WAV2VEC2, drop=("conv_pos_batch_norm", "feat_proj_layer_norm"))
    body = _layers(config, config.integer("hidden_size"))
    return _network(config, body, pretrained=True)


def _without(*names: str) -> Callable[[Config], Network]:
    """wav2vec2's encoder in a class that knows nothing of these fields."""

    def build(config: Config) -> Network:
        config = read(config, WAV2VEC2, drop=names)
        return _network(config, _layers(config, config.integer("hidden_size")))

    return build


def wavlm(config: Config) -> Network:
    """WavLMModel: a bias by relative position, made in the first layer and gated in each."""
    config = read(config, WAV2VEC2, drop=("adapter_attn_dim", "conv_pos_batch_norm"))
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    gates = (
        Parameter("gru_rel_pos_const", (1, heads, 1, 1)),
        Block("gate", (Linear("gru_rel_pos_linear", hidden // heads, 8, True),)),
    )
    plain = _layers(config, hidden)[0]
    assert isinstance(plain, Block)
    rest = replace(plain, children=_gated(plain.children, gates), repeat=max(0, plain.repeat - 1))
    table = Embedding("rel_attn_embed", config.rows("num_buckets"), heads)
    first = replace(rest, children=(table, *rest.children), repeat=1)
    body = tuple(block for block in (first, rest) if plain.repeat and block.repeat)
    return _network(config, body)


def _gated(children: Children, gates: Children) -> Children:
    return tuple(
        replace(child, children=(*gates, *child.children))
        if isinstance(child, Block) and child.name == "attention"
        else child
        for child in children
    )


def conformer(config: Config) -> Network:
    """Wav2Vec2ConformerModel: a convolution in each layer, between two half feed-forwards."""
    config = read(config, CONFORMER, drop=(STABLE, "adapter_attn_dim", "conv_pos_batch_norm"))
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    shape = replace(
        _shape(config, hidden), names=("linear_q", "linear_k", "linear_v", "linear_out")
    )
    kind = config.text("position_embeddings_type")
    block = attention(replace(shape, rotary=kind == "rotary"))
    if kind == "relative":
        free = tuple(Parameter(f"pos_bias_{i}", (heads, hidden // heads)) for i in "uv")
        block = replace(
            block, children=(*free, Linear("linear_pos", hidden, hidden), *block.children)
        )
    body = layer(
        norm("ffn1_layer_norm", hidden),
        _feed_forward(config, hidden, "ffn1"),
        norm("self_attn_layer_norm", hidden),
        block,
        _convolution(config, hidden),
        norm("ffn2_layer_norm", hidden),
        _feed_forward(config, hidden, "ffn2"),
        norm("final_layer_norm", hidden),
        repeat=config.layers("num_hidden_layers"),
    )
    return _conformed(config, body)


def _convolution(config: Config, hidden: int) -> Block:
    kernel = config.integer("conv_depthwise_kernel_size")
    parts = (
        norm("layer_norm", hidden),
        Convolution("pointwise_conv1", hidden, 2 * hidden, (1,), bias=False),
        Activation("glu", hidden, "sigmoid", gated=True, split=Split.WHOLE),
        Convolution("depthwise_conv", hidden, hidden, (kernel,), hidden, bias=False),
        Norm("batch_norm", hidden, "batch", bias=True),
        Activation("act", hidden, config.text("hidden_act"), split=Split.WHOLE),
        Convolution("pointwise_conv2", hidden, hidden, (1,), bias=False),
    )
    return Block("conv_module", parts)


def _conformed(config: Config, body: Block) -> Network:
    """The conformer norms after its last layer, as the stable variant does."""
    late = Config({**config.data, STABLE: True}, config.defaults, config.path)
    return _network(late, (body,), pretrained=True)


def sew(config: Config) -> Network:
    """SEWModel: the transformer runs on frames pooled together, and its result is spread again."""
    config = read(config, SEW, drop=(STABLE, "feat_proj_layer_norm", "add_adapter"))
    hidden, factor = config.integer("hidden_size"), config.integer("squeeze_factor")
    stream = TOKENS.divided(factor)
    conv, scale, act = _positions(config, hidden)
    assert isinstance(conv, Convolution)
    squeezed = (
        Block(
            "positions",
            (
                Pool("pool", hidden, float(factor)),
                replace(conv, input_positions=float(factor)),
                scale,
                act,
                norm("layer_norm", hidden),
            ),
        ),
        *_layers(config, hidden),
        Block("upsample", (Linear("projection", hidden, hidden * factor, True),)),
    )
    placed = tuple(replace(block, stream=stream) for block in squeezed if isinstance(block, Block))
    top = on_top(config, _tops(config, hidden, hidden, False), "Model")
    parts = (*_features(config), _projection(config, hidden, always=False), *placed, *top)
    return encoder(config, hidden, parts)


_ADAPTERS: tuple[str, ...] = ("add_adapter", "conv_pos_batch_norm")
_Families = Mapping[str, Any]
FAMILIES: _Families = {
    "hubert": _without("add_adapter"),
    "sew": sew,
    "unispeech": _without(*_ADAPTERS, "feat_proj_layer_norm"),
    "unispeech-sat": _without(*_ADAPTERS, "feat_proj_layer_norm"),
    "wav2vec2": wav2vec2,
    "wav2vec2-conformer": conformer,
    "wavlm": wavlm,
}
