"""State-space layers with a transformer block that is used again and again.

zamba (Glorioso et al. 2024, arXiv 2405.16712), zamba2 (2411.15242). The shared block reads the
embedding and the stream side by side, twice the hidden width. Defaults are those of transformers
5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import (
    AttentionShape,
    Children,
    attention,
    gated_mlp,
    layer,
)
from service.core.architecture.families.mamba import step_rank
from service.core.architecture.families.mixers import Dual, depthwise, mamba2
from service.core.architecture.families.trunk import causal_lm, kinds, probability, read
from service.core.architecture.network import Network
from service.core.architecture.operators import Activation, Linear, Norm, Parameter, Scan
from service.core.architecture.tree import Block

LINEAR, HYBRID = "linear_attention", "hybrid"
ZAMBA = {
    "vocab_size": 32000,
    "hidden_size": 3712,
    "intermediate_size": 14848,
    "num_hidden_layers": 76,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_mamba_heads": 2,
    "hidden_act": "gelu",
    "attn_layer_period": 6,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_dt_rank": "auto",
    "mamba_conv_bias": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}
ZAMBA2 = {
    "vocab_size": 32000,
    "hidden_size": 2560,
    "num_hidden_layers": 54,
    "mamba_d_state": 64,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_ngroups": 1,
    "n_mamba_heads": 8,
    "chunk_size": 256,
    "hidden_act": "gelu",
    "num_attention_heads": 32,
    "num_mem_blocks": 1,
    "adapter_rank": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}
ZAMBA2_LAYERS = 54
ZAMBA2_HYBRID = frozenset((6, 12, 18, 24, 30, 36, 42, 47, 51))
"""The layers with a shared block where the config has no list (the 2.7B model)."""
NAMES = {"layer_types": "layers_block_type"}


def _shape(config: Config, hidden: int, width: int) -> AttentionShape:
    heads = config.integer("num_attention_heads")
    return AttentionShape(
        width,
        heads,
        config.optional("num_key_value_heads", 1) or heads,
        config.optional("attention_head_dim", 1) or 2 * hidden // heads,
        dropout=probability(config, "attention_dropout"),
    )


def _attention(shape: AttentionShape, hidden: int) -> Block:
    """Attention over the doubled stream, back to the hidden width."""
    block = attention(shape)
    inner = shape.heads * shape.head_dim
    out = Linear("o_proj", inner, hidden, split="row")
    children = tuple(out if child.name == "o_proj" else child for child in block.children)
    return replace(block, children=children)


def zamba(config: Config) -> Network:
    """ZambaForCausalLM: one shared block."""
    config = read(config, ZAMBA, NAMES | {"head_dim": "attention_head_dim"})
    hidden = config.integer("hidden_size")
    width = config.optional("attention_hidden_size", 1) or 2 * hidden
    norm = Norm("final_layernorm", hidden)
    mlp = gated_mlp(hidden, config.integer("intermediate_size"), config.text("hidden_act"))
    shared: Children = (
        Norm("input_layernorm", width),
        _attention(replace(_shape(config, hidden, width), rotary=False), hidden),
        Norm("pre_ff_layernorm", hidden),
        mlp,
    )
    mixer: Children = (Norm("input_layernorm", hidden), _zamba_mixer(config, hidden))
    period, offset = config.integer("attn_layer_period"), config.integer("attn_layer_offset", 0)

    def kind(index: int) -> str:
        hybrid = index == 2 if index < 3 else (index - 3) % period == offset
        return HYBRID if hybrid else LINEAR

    found = kinds(config, kind, (LINEAR, HYBRID), "layers_block_type")
    linear = Linear("linear", hidden, hidden)
    return _network(config, hidden, found, [shared], mixer, linear, norm)


def _network(
    config: Config,
    hidden: int,
    found: list[str],
    shared: list[Children],
    mixer: Children,
    linear: Linear,
    norm: Norm,
    own: list[Children] | None = None,
) -> Network:
    """Layers in order; each shared block holds weights where it first stands.

    The classes tie the uses of a block only where the config ties word embeddings too. `own`:
    what the n-th use of a shared block has for itself (adapters).
    """
    blocks: list[Block] = []
    uses, tied = 0, config.flag("tie_word_embeddings")
    for kind in found:
        if kind == LINEAR:
            if blocks and blocks[-1].children == mixer:
                blocks[-1] = replace(blocks[-1], repeat=blocks[-1].repeat + 1)
            else:
                blocks.append(layer(*mixer))
            continue
        again = tied and uses >= len(shared)
        block = Block("shared", shared[uses % len(shared)], alias=again)
        extra = own[uses] if own else ()
        blocks.append(layer(block, *extra, linear, *mixer))
        uses += 1
    return causal_lm(config, hidden, tuple(blocks), norm)


def _zamba_mixer(config: Config, hidden: int) -> Block:
    """Mamba's mixer in heads that share nothing between the outer projections."""
    inner, heads = config.integer("mamba_expand") * hidden, config.integer("n_mamba_heads")
    if inner % heads:
        raise ConfigError(
            config.where("n_mamba_heads"), "n_mamba_heads must divide the inner width"
        )
    width, state = inner // heads, config.integer("mamba_d_state")
    rank, bias = step_rank(config, hidden, "mamba_dt_rank"), config.flag("mamba_proj_bias")
    kernel = config.integer("mamba_d_conv")
    scan = Scan(
        "scan",
        "mamba",
        width,
        float(width * state),
        2.0 * width * state,
        ((width, state), (width,)),
        float(width * kernel),
    )
    head: Children = (
        Linear("x_proj_weight", width, rank + 2 * state),
        Linear("dt_proj_weight", rank, width, True),
        scan,
    )
    children: Children = (
        Linear("in_proj", hidden, 2 * inner, bias, "column"),
        depthwise(inner, kernel, config.flag("mamba_conv_bias")),
        Block("heads", head, repeat=heads),
        Linear("out_proj", inner, hidden, bias, "row"),
    )
    return Block("mamba", children)


def zamba2(config: Config) -> Network:
    """Zamba2ForCausalLM: several shared blocks in turn, an adapter for each use."""
    config = read(config, ZAMBA2, NAMES | {"head_dim": "attention_head_dim"})
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    if config.get("layers_block_type") is None and layers != ZAMBA2_LAYERS:
        raise ConfigError(config.where("layers_block_type"), "layers_block_type is missing; add it")
    found = kinds(
        config,
        lambda index: HYBRID if index in ZAMBA2_HYBRID else LINEAR,
        (LINEAR, HYBRID),
        "layers_block_type",
    )
    inner, bias = config.optional("intermediate_size", 1) or 4 * hidden, _bias(config)
    width = config.optional("attention_hidden_size", 1) or 2 * hidden
    shape = replace(_shape(config, hidden, width), rotary=config.flag("use_mem_rope"))
    shared: Children = (
        Norm("input_layernorm", width),
        _attention(shape, hidden),
        Norm("pre_ff_layernorm", hidden),
        Block(
            "mlp",
            (
                Linear("gate_up_proj", hidden, 2 * inner, bias, "column"),
                Activation("act", inner, config.text("hidden_act"), gated=True),
                Linear("down_proj", inner, hidden, bias, "row"),
            ),
        ),
    )
    mixer: Children = (Norm("input_layernorm", hidden), mamba2(_dual(config, hidden, bias)))
    blocks = config.integer("num_mem_blocks", 1, 1000)
    uses = sum(kind == HYBRID for kind in found)
    own = [_adapters(config, hidden, inner, index, uses, blocks) for index in range(uses)]
    linear, norm = Linear("linear", hidden, hidden), Norm("final_layernorm", hidden)
    return _network(config, hidden, found, [shared] * blocks, mixer, linear, norm, own)


def _bias(config: Config) -> bool:
    return config.flag("add_bias_linear")


def _dual(config: Config, hidden: int, bias: bool) -> Dual:
    inner, heads = config.integer("mamba_expand") * hidden, config.integer("n_mamba_heads")
    if inner % heads:
        raise ConfigError(
            config.where("n_mamba_heads"), "n_mamba_heads must divide the inner width"
        )
    return Dual(
        hidden,
        inner,
        heads,
        config.integer("mamba_ngroups"),
        config.integer("mamba_d_state"),
        config.integer("mamba_d_conv"),
        config.integer("chunk_size"),
        bias=bias,
    )


def _adapters(
    config: Config, hidden: int, inner: int, index: int, uses: int, blocks: int
) -> Children:
    """The low-rank adapters of one use of a shared block.

    The implementation keeps the adapters of all uses in each of the tied copies of the block, so
    an untied count holds them once for each use.
    """
    rank = config.integer("adapter_rank")
    width = config.optional("attention_hidden_size", 1) or 2 * hidden
    pairs = [("gate_up_proj_adapter", hidden, 2 * inner)]
    if config.flag("use_shared_attention_adapter"):
        pairs += [(f"linear_{name}_adapter", width, width) for name in ("q", "k", "v")]
    parts: list[Linear | Parameter] = []
    for name, inputs, outputs in pairs:
        parts += [Linear(f"{name}.0", inputs, rank), Linear(f"{name}.1", rank, outputs)]
    size = sum(rank * (inputs + outputs) for _, inputs, outputs in pairs)
    others = len(range(index % blocks, uses, blocks)) - 1
    tied = config.flag("tie_word_embeddings")
    parts.append(Parameter("adapters_of_other_uses", (others, size), alias=tied))
    return (Block("adapters", tuple(parts)),)


FAMILIES = {"zamba": zamba, "zamba2": zamba2}
