"""Llama's vision-language models.

mllama (Llama 3.2 Vision; Dubey et al. 2024, arXiv 2407.21783, section 7): some of the decoder's
layers attend to the image instead of to the text. llama4: image tokens among the text's. Defaults
are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    layer,
    plain_mlp,
)
from service.core.architecture.families.encoder import norm
from service.core.architecture.families.multimodal import decoder, joined, part
from service.core.architecture.families.trunk import (
    causal_lm,
    grouped,
    head_width,
    named_class,
    probability,
    read,
    runs,
)
from service.core.architecture.network import Network
from service.core.architecture.operators import (
    Activation,
    Convolution,
    Linear,
    Norm,
    Operator,
    Parameter,
)
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

MLLAMA_VISION = {
    "hidden_size": 1280,
    "hidden_act": "gelu",
    "num_hidden_layers": 32,
    "num_global_layers": 8,
    "attention_heads": 16,
    "num_channels": 3,
    "intermediate_size": 5120,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "max_num_tiles": 4,
    "intermediate_layers_indices": [3, 7, 15, 23, 30],
    "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
}
MLLAMA_TEXT = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "hidden_act": "silu",
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
}
LLAMA4_VISION = {
    "hidden_size": 768,
    "num_hidden_layers": 34,
    "num_attention_heads": 16,
    "num_channels": 3,
    "intermediate_size": 5632,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
}
EXTRA_TOKENS = 8
"""Rows of the token embedding beyond the vocabulary: the image token's."""


def _vision_layer(
    config: Config, biases: bool, extra: Children = (), rotary: bool = False
) -> Block:
    hidden = config.integer("hidden_size")
    name = "attention_heads" if config.get("attention_heads") else "num_attention_heads"
    heads = config.integer(name)
    shape = AttentionShape(
        hidden,
        heads,
        heads,
        head_width(config, hidden, heads, name),
        bias=biases,
        output_bias=biases,
        rotary=rotary,
        causal=False,
        dropout=probability(config, "attention_dropout"),
    )
    inner, act = config.integer("intermediate_size"), config.text("hidden_act", "gelu")
    mlp = plain_mlp(hidden, inner, act, names=("fc1", "fc2"))
    before, after = norm("input_layernorm", hidden), norm("post_attention_layernorm", hidden)
    return layer(before, attention(shape), after, mlp, *extra)


def _tiles(config: Config, name: str, ratios: int) -> tuple[Operator, ...]:
    """A learned vector for each tile of each aspect ratio, behind a gate."""
    width = config.integer("max_num_tiles") * config.integer("hidden_size")
    return Parameter(f"{name}.gate", (1,)), Parameter(f"{name}.embedding", (ratios, width))


def _mllama_tower(config: Config) -> tuple[Children, int]:
    """The tower's blocks, and the positions that the decoder attends to."""
    config = read(config, MLLAMA_VISION)
    hidden, side = config.integer("hidden_size"), config.integer("image_size")
    patch, tiles = config.integer("patch_size"), config.integer("max_num_tiles")
    seen = (side // patch) ** 2 + 1
    ratios = len(config.sequence("supported_aspect_ratios")) + 1
    projection = Convolution(
        "patch_embedding", config.integer("num_channels"), hidden, (patch, patch),
        bias=False, input_positions=float(patch * patch),
    )  # fmt: skip
    free: tuple[Operator, ...] = (
        Parameter("class_embedding", (hidden,)),
        Parameter("gated_positional_embedding.gate", (1,)),
        Parameter("gated_positional_embedding.embedding", (seen, hidden)),
        Parameter("tile_embedding", (ratios, tiles * seen * hidden)),
        *_tiles(config, "pre_tile_positional_embedding", ratios),
        norm("layernorm_pre", hidden),
    )
    gates = (Parameter("gate_attn", (1,)), Parameter("gate_ffn", (1,)))
    last = (*_tiles(config, "post_tile_positional_embedding", ratios), norm("post", hidden))
    patches = Block("patches", (projection,), stream=fixed(float(tiles * (seen - 1))))
    # Each tile is padded to a multiple of 8 positions, and all tiles attend to each other.
    padded = fixed(float(tiles * -(-seen // 8) * 8))
    local = replace(_vision_layer(config, False), repeat=config.layers("num_hidden_layers"))
    overall = replace(
        _vision_layer(config, False, gates), repeat=config.layers("num_global_layers")
    )
    blocks = (
        Block("vision_embedding", (patches, *free)),
        local,
        Block("vision_norm", last),
        overall,
    )
    return tuple(replace(block, stream=padded) for block in blocks), tiles * seen


def _mllama_text(config: Config, positions: int) -> Network:
    config = read(config, MLLAMA_TEXT)
    hidden = config.integer("hidden_size")
    crossed = config.indices("cross_attention_layers")
    shape = grouped(config, head_dim=hidden // config.integer("num_attention_heads"))
    inner = config.integer("intermediate_size")
    mlp = gated_mlp(hidden, inner, config.text("hidden_act"))
    norms = Norm("input_layernorm", hidden), Norm("post_attention_layernorm", hidden)
    image = replace(
        shape,
        rotary=False,
        causal=False,
        keys=fixed(float(positions)),
        key_inputs=hidden,
        head_norm=Norm("norm", 0),
    )
    gates = (Parameter("cross_attn_attn_gate", (1,)), Parameter("cross_attn_mlp_gate", (1,)))

    def make(is_crossed: bool) -> Children:
        if is_crossed:
            block = replace(attention(image), name="cross_attention")
            return norms[0], block, gates[0], norms[1], mlp, gates[1]
        return norms[0], attention(shape), norms[1], mlp

    count = config.layers("num_hidden_layers")
    layers = runs([index in crossed for index in range(count)], make)
    rows = config.rows("vocab_size")
    grown = Config({**config.data, "vocab_size": rows + EXTRA_TOKENS}, config.defaults, config.path)
    network = causal_lm(grown, hidden, layers, Norm("norm", hidden), head_rows=rows, ties=False)
    return replace(network, vocabulary=rows)


def mllama(config: Config) -> Network:
    """MllamaForConditionalGeneration."""
    blocks, positions = _mllama_tower(config.section("vision_config"))
    section = config.section("text_config")
    named = ["Model"] if named_class(config).endswith("Model") else []
    inner = Config({**section.data, "architectures": named}, path=section.path)
    text = _mllama_text(inner, positions)
    vision = read(config.section("vision_config"), MLLAMA_VISION)
    projector = Block(
        "projector",
        (
            Linear(
                "multi_modal_projector",
                vision.integer("vision_output_dim"),
                text.hidden_size,
                True,
            ),
        ),
        stream=fixed(float(positions)),
    )
    return joined(config, (*blocks, projector), text)


def _llama4_tower(config: Config) -> tuple[Children, float]:
    hidden, patch = config.integer("hidden_size"), config.integer("patch_size")
    count = (config.integer("image_size") // patch) ** 2
    inputs = config.integer("num_channels") * patch * patch
    unfold = Block("patches", (Linear("linear", inputs, hidden),), stream=fixed(float(count)))
    free = (
        Parameter("class_embedding", (hidden,)),
        Parameter("positional_embedding_vlm", (count + 1, hidden)),
        norm("layernorm_pre", hidden),
    )
    layers = replace(
        _vision_layer(config, True, rotary=True), repeat=config.layers("num_hidden_layers")
    )
    last = Block("vision_norm", (norm("layernorm_post", hidden),))
    shuffled = count * config.number("pixel_shuffle_ratio", 0.0, 1.0) ** 2
    middle, outputs = config.integer("projector_input_dim"), config.integer("projector_output_dim")
    adapter = Block(
        "vision_adapter",
        (
            Linear("fc1", config.integer("intermediate_size"), middle),
            Activation("act", middle, "gelu"),
            Linear("fc2", outputs, outputs),
        ),
        stream=fixed(shuffled),
    )
    blocks = (Block("vision_embedding", (unfold, *free)), layers, last)
    placed = tuple(replace(block, stream=fixed(float(count + 1))) for block in blocks)
    return (*placed, adapter), shuffled


def llama4(config: Config) -> Network:
    """Llama4ForConditionalGeneration."""
    given = part(config, "text_config", {"model_type": "llama4_text"})
    given |= {"model_type": "llama4_text"}
    text = decoder(config, given, given.get("tie_word_embeddings") is True, "text_config")
    vision = read(config.section("vision_config"), LLAMA4_VISION)
    blocks, positions = _llama4_tower(vision)
    inputs = vision.integer("vision_output_dim")
    projection = Linear("linear_1", inputs, text.hidden_size)
    projector = Block("projector", (projection,), stream=fixed(positions))
    return joined(config, (*blocks, projector), text)


FAMILIES = {"llama4": llama4, "mllama": mllama}
