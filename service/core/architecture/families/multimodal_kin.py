"""Vision-language and audio-language models whose projection is a network of its own.

aria (Li et al. 2024, arXiv 2410.05993), idefics2 (2405.02246), gemma4, kosmos-2 (2306.14824),
voxtral (2507.13264), qwen2_audio (2407.10759). Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import WHISPER, audio_tower
from service.core.architecture.families.bert import encoder, norm, on_top
from service.core.architecture.families.clip import CLIP_VISION, clip_vision
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    head,
    layer,
    plain_mlp,
)
from service.core.architecture.families.multimodal import decoder, joined, part, two_linear
from service.core.architecture.families.towers import tower
from service.core.architecture.families.trunk import (
    agree,
    head_width,
    probability,
    read,
    refuse,
    ties,
)
from service.core.architecture.network import Block, Network
from service.core.architecture.operators import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Norm,
    Operator,
    Parameter,
    Split,
)
from service.core.architecture.polynomial import fixed

PERCEIVER = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "resampler_n_latents": 64,
    "resampler_depth": 3,
    "resampler_n_heads": 16,
    "resampler_head_dim": 96,
    "num_key_value_heads": 4,
}
GEMMA4_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "hidden_activation": "gelu_pytorch_tanh",
    "pooling_kernel_size": 3,
    "patch_size": 16,
    "position_embedding_size": 10240,
}
KOSMOS_TEXT = {
    "vocab_size": 65037,
    "max_position_embeddings": 2048,
    "embed_dim": 2048,
    "layers": 24,
    "ffn_dim": 8192,
    "attention_heads": 32,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
}
VOXTRAL_TEXT = {
    "model_type": "llama",
    "vocab_size": 131072,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 30,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
LISTENER = WHISPER | {
    "num_mel_bins": 128,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "d_model": 1280,
}
LISTENER_NAMES = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
}


def _crossed(hidden: int, heads: int, positions: float) -> AttentionShape:
    """Attention of learned queries to the positions of a tower."""
    return AttentionShape(
        hidden,
        heads,
        heads,
        hidden // heads,
        bias=True,
        output_bias=True,
        rotary=False,
        causal=False,
        keys=fixed(positions),
        key_inputs=hidden,
    )


def aria(config: Config) -> Network:
    """AriaForConditionalGeneration: learned queries read the image."""
    config = read(config, {"max_value_projector_patch_to_query_dict": 256})
    given = part(config, "text_config", {"model_type": "aria_text"}) | {"model_type": "aria_text"}
    text = decoder(config, given, config.flag("tie_word_embeddings"), "text_config")
    section = config.section("vision_config")
    made = tower(section, "idefics3_vision")
    width, output = made.width, text.hidden_size
    heads = Config(section.data, {"num_attention_heads": 16}, section.path)
    inner = attention(_crossed(width, heads.integer("num_attention_heads"), made.positions))
    before = tuple(Linear(f"{name}_proj", width, width) for name in "qkv")
    queries = config.integer("max_value_projector_patch_to_query_dict")
    projector = Block(
        "projector",
        (
            Parameter("query", (queries, width)),
            norm("layer_norm_q", width),
            before[0],
            Block(
                "keys", (norm("layer_norm_kv", width), *before[1:]), stream=fixed(made.positions)
            ),
            inner,
            Linear("linear", width, width, True),
            norm("layer_norm", width),
            Linear("linear_in", width, output),
            Activation("act", output, "gelu_new"),
            Linear("linear_out", output, output),
        ),
        stream=fixed(_queries(config, made.positions, queries)),
    )
    return joined(config, (*made.blocks, projector), text)


def _queries(config: Config, positions: int, most: int) -> float:
    """Vectors of one image of that many patches that reach the decoder."""
    section = config.section("projector_patch_to_query_dict")
    found = section.optional(str(positions), 1)
    return float(found or most)


def idefics2(config: Config) -> Network:
    """Idefics2ForConditionalGeneration: a perceiver samples the image down to 64 vectors."""
    given = part(config, "text_config", {"model_type": "mistral"})
    text = decoder(config, given, config.flag("tie_word_embeddings"), "text_config")
    section = config.section("vision_config")
    plain = Config({k: v for k, v in section.data.items() if k != "model_type"}, path=section.path)
    made = tower(plain, "idefics2_vision")
    given_sampler = {**config.section("perceiver_config").data, "hidden_size": text.hidden_size}
    sampler = Config(given_sampler, PERCEIVER, "perceiver_config")
    inner = Config(given, {"intermediate_size": 14336, "hidden_act": "silu"}, "text_config")
    mlp = gated_mlp(
        made.width, inner.integer("intermediate_size"), inner.text("hidden_act"), name="projection"
    )
    wide = replace(mlp.children[-1], outputs=text.hidden_size)  # type: ignore[call-arg]
    projection = replace(mlp, children=(*mlp.children[:-1], wide), stream=fixed(made.positions))
    blocks = (*made.blocks, projection, _perceiver(sampler, made.positions))
    return joined(config, blocks, text)


def _perceiver(config: Config, positions: int) -> Block:
    hidden, latents = config.integer("hidden_size"), config.integer("resampler_n_latents")
    heads, groups = config.integer("resampler_n_heads"), config.integer("num_key_value_heads")
    shape = AttentionShape(
        hidden,
        heads,
        groups,
        config.integer("resampler_head_dim"),
        rotary=False,
        causal=False,
        keys=fixed(float(positions + latents)),
        key_inputs=hidden,
    )
    children = (
        Norm("input_latents_norm", hidden),
        Block("context", (Norm("input_context_norm", hidden),), stream=fixed(positions)),
        attention(shape),
        Norm("post_attention_layernorm", hidden),
        gated_mlp(hidden, 4 * hidden, config.text("hidden_act")),
    )
    depth = config.layers("resampler_depth")
    return Block(
        "perceiver",
        (
            Parameter("latents", (latents, hidden)),
            Block("perceiver_layer", children, repeat=depth),
            Norm("norm", hidden),
        ),
        stream=fixed(float(latents)),
    )


def gemma4(config: Config) -> Network:
    """Gemma4ForConditionalGeneration, with or without its image tower."""
    if config.get("audio_config") is not None:
        raise refuse(config, "audio_config", "null")
    given = part(config, "text_config", {"model_type": "gemma4_text"})
    tied = ties(config)
    text = decoder(config, given | {"model_type": "gemma4_text"}, tied, "text_config")
    if config.get("vision_config") is None:
        return joined(config, (), text)
    vision = read(config.section("vision_config"), GEMMA4_VISION)
    tokens = Config(config.data, {"vision_soft_tokens_per_image": 280}).integer(
        "vision_soft_tokens_per_image"
    )
    pooled = vision.integer("pooling_kernel_size") ** 2
    blocks = tuple(replace(b, stream=fixed(tokens * pooled)) for b in _gemma4_tower(vision))
    projection = Linear("embedding_projection", vision.integer("hidden_size"), text.hidden_size)
    projector = Block("projector", (projection,), stream=fixed(tokens))
    return joined(config, (*blocks, projector), text)


def _gemma4_tower(config: Config) -> tuple[Block, ...]:
    hidden, patch = config.integer("hidden_size"), config.integer("patch_size")
    bias = config.flag("attention_bias")
    shape = AttentionShape(
        hidden,
        config.integer("num_attention_heads"),
        config.integer("num_key_value_heads"),
        config.integer("head_dim"),
        bias=False,
        causal=False,
        head_norm=Norm("norm", 0),
        dropout=probability(config, "attention_dropout"),
    )
    if bias:
        raise refuse(config, "attention_bias", "false")
    inner = config.integer("intermediate_size")
    mlp = gated_mlp(hidden, inner, config.text("hidden_activation"))
    norms = tuple(
        Norm(name, hidden)
        for name in (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        )
    )
    places = config.rows("position_embedding_size")
    embedding = Block(
        "vision_embedding",
        (
            Linear("input_proj", 3 * patch * patch, hidden),
            Parameter("position_embedding_table", (2, places, hidden)),
        ),
    )
    layers = layer(
        norms[0], attention(shape), norms[1], norms[2], mlp, norms[3],
        repeat=config.layers("num_hidden_layers"),
    )  # fmt: skip
    return embedding, layers


def kosmos2(config: Config) -> Network:
    """Kosmos2ForConditionalGeneration: learned queries read a CLIP tower for a decoder."""
    text = read(config.section("text_config"), KOSMOS_TEXT)
    if text.flag("add_cross_attention"):
        raise refuse(text, "add_cross_attention", "false")
    vision = read(
        config.section("vision_config"),
        CLIP_VISION
        | {"hidden_size": 1024, "intermediate_size": 4096, "patch_size": 14}
        | {"num_hidden_layers": 24, "num_attention_heads": 16},
    )
    queries = Config(config.data, {"latent_query_num": 64}).integer("latent_query_num")
    hidden, heads = text.integer("embed_dim"), text.integer("attention_heads")
    width = vision.integer("hidden_size")
    side = vision.integer("image_size") // vision.integer("patch_size")
    positions = side * side + 1
    head_width(text, hidden, heads, "attention_heads")
    dense = Block("dense", (Linear("dense", width, hidden, True),), stream=fixed(positions))
    reading = attention(_crossed(hidden, heads, positions + queries))
    latent = Parameter("latent_query", (queries, hidden))
    projector = Block("projector", (latent, dense, reading), stream=fixed(queries))
    tied = ties(config) or ties(text)
    rows = text.rows("vocab_size")
    top = on_top(
        config,
        {"ForConditionalGeneration": (head(hidden, rows, tied),), "Model": ()},
        "ForConditionalGeneration",
    )
    parts = (*clip_vision(vision), projector, *_kosmos_text(text), *top)
    network = encoder(config, hidden, parts)
    limit = text.integer("max_position_embeddings")
    return replace(network, vocabulary=rows, causal=True, sequence_limit=limit)


def _kosmos_text(config: Config) -> Children:
    hidden, heads = config.integer("embed_dim"), config.integer("attention_heads")
    inner, dropout = config.integer("ffn_dim"), probability(config, "dropout")
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        hidden // heads,
        bias=True,
        output_bias=True,
        rotary=False,
        dropout=probability(config, "attention_dropout"),
        residual_dropout=dropout,
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )
    own = _after(attention(shape), Attention, norm("inner_attn_ln", hidden))
    act = config.text("activation_function")
    mlp = plain_mlp(hidden, inner, act, names=("fc1", "fc2"), dropout=dropout)
    normed = _after(mlp, Activation, norm("ffn_layernorm", inner))
    rows = config.rows("vocab_size")
    table = Embedding("embed_tokens", rows, hidden, Split.TENSOR, input=True)
    layers = layer(
        norm("self_attn_layer_norm", hidden),
        own,
        norm("final_layer_norm", hidden),
        normed,
        repeat=config.layers("layers"),
    )
    return Block("embedding", (table,)), layers, Block("norm", (norm("layer_norm", hidden),))


def _after(block: Block, kind: type[Operator], added: Operator) -> Block:
    """The block with an operator after the one of that kind."""
    found: list[Block | Operator] = []
    for child in block.children:
        found += [child, added] if isinstance(child, kind) else [child]
    return replace(block, children=tuple(found))


def voxtral(config: Config) -> Network:
    """VoxtralForConditionalGeneration: Whisper's encoder, four frames to a vector."""
    given = {**VOXTRAL_TEXT, **part(config, "text_config", VOXTRAL_TEXT)}
    text = decoder(config, given, False, "text_config")
    agree(config, "hidden_size", text.hidden_size)
    sound = read(config.section("audio_config"), LISTENER, LISTENER_NAMES)
    inputs = sound.integer("encoder_ffn_dim")
    frames = sound.integer("max_source_positions")
    heard = frames * sound.integer("d_model") / inputs
    products = two_linear(config, inputs, text.hidden_size, text.hidden_size, False)
    projector = Block("projector", products, stream=fixed(heard))
    return joined(config, (*audio_tower(sound), projector), text)


def qwen2_audio(config: Config) -> Network:
    """Qwen2AudioForConditionalGeneration: Whisper's encoder, two frames to a vector."""
    given = part(config, "text_config", {"model_type": "qwen2"})
    text = decoder(config, given, False, "text_config")
    sound = read(config.section("audio_config"), LISTENER)
    frames = sound.integer("max_source_positions")
    projection = Linear("linear", sound.integer("d_model"), text.hidden_size, True)
    projector = Block("projector", (projection,), stream=fixed(frames / 2))
    return joined(config, (*audio_tower(sound), projector), text)


FAMILIES = {
    "aria": aria,
    "gemma4": gemma4,
    "idefics2": idefics2,
    "kosmos-2": kosmos2,
    "qwen2_audio": qwen2_audio,
    "voxtral": voxtral,
}
