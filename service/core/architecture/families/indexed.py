"""Latent attention to the tokens that a small indexer picks (DeepSeek sparse attention).

deepseek_v32 (DeepSeek-AI 2025, arXiv 2512.02556), glm_moe_dsa (GLM-5, 2602.15763), axk1 (without an
indexer). The indexer scores each pair with few small heads and keeps one key a token. Defaults are
those of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.core.architecture.families.config import Config, ConfigError
from service.core.architecture.families.decoder import Children
from service.core.architecture.families.deepseek import ROUTED, V3
from service.core.architecture.families.dense import pre_norm, swiglu
from service.core.architecture.families.experts import experts, marked, several_shared, sparse
from service.core.architecture.families.latent import latent, latent_attention
from service.core.architecture.families.trunk import causal_lm, kinds, read, refuse, runs
from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Linear, Norm
from service.core.architecture.tree import Block

V32 = V3 | {
    "index_topk": 2048,
    "index_head_dim": 128,
    "index_n_heads": 64,
    "max_position_embeddings": 163840,
}
GLM = V32 | {
    "vocab_size": 154880,
    "hidden_size": 6144,
    "intermediate_size": 12288,
    "num_hidden_layers": 78,
    "num_attention_heads": 64,
    "q_lora_rank": 2048,
    "v_head_dim": 256,
    "qk_nope_head_dim": 192,
    "index_n_heads": 32,
    "index_topk_freq": 1,
    "index_skip_topk_offset": 2,
    "max_position_embeddings": 202752,
}
AXK1 = V3 | {
    "vocab_size": 163840,
    "num_attention_heads": 64,
    "n_routed_experts": 192,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "max_position_embeddings": 32768,
}
INDEXED = "indexed_attention"


def _indexed_attention(config: Config, indexer: bool) -> Block:
    """Latent attention in which a query meets at most `index_topk` keys."""
    sizes = latent(config)
    if sizes.query_rank is None:
        raise refuse(config, "q_lora_rank", "a number")
    block = latent_attention(sizes)
    top = config.integer("index_topk", 1, 1 << 40)
    children = tuple(
        replace(child, window=top) if isinstance(child, Attention) else child
        for child in block.children
    )
    extra = (_indexer(config, sizes.hidden, sizes.query_rank),) if indexer else ()
    return Block("attention", (*extra, *children))


def _indexer(config: Config, hidden: int, rank: int) -> Block:
    heads, width = config.integer("index_n_heads"), config.integer("index_head_dim")
    children: Children = (
        Linear("wq_b", rank, heads * width),
        Linear("wk", hidden, width, keeps_input=False),
        Norm("k_norm", width, "layer", bias=True),
        Linear("weights_proj", hidden, heads, keeps_input=False),
        Attention("scores", heads, 1, width, 0, latent_cache=width),
    )
    return Block("indexer", children)


def _network(config: Config, indexers: Sequence[bool]) -> Network:
    hidden, layers = config.integer("hidden_size"), config.layers("num_hidden_layers")
    kinds(config, lambda _: INDEXED, (INDEXED,))
    with_indexer, without = (_indexed_attention(config, used) for used in (True, False))
    moe = experts(config, count="n_routed_experts", shared=several_shared(config))
    mlp, norm = swiglu(config), Norm("norm", hidden)
    which = marked(config, min(config.integer("first_k_dense_replace", 0), layers))

    def make(kind: tuple[bool, bool]) -> Children:
        return pre_norm(norm, with_indexer if kind[0] else without, moe if kind[1] else mlp)

    blocks = runs(list(zip(indexers, which, strict=True)), make)
    return causal_lm(config, hidden, blocks, norm)


def deepseek_v32(config: Config) -> Network:
    """DeepseekV32ForCausalLM: an indexer in each layer."""
    config = read(config, V32, ROUTED | {"num_experts": "n_routed_experts"})
    return _network(config, [True] * config.layers("num_hidden_layers"))


def glm_moe_dsa(config: Config) -> Network:
    """GlmMoeDsaForCausalLM: layers may take the choice of an earlier indexer."""
    config = read(config, GLM, ROUTED | {"num_experts": "n_routed_experts"})
    layers = config.layers("num_hidden_layers")
    step, offset = config.integer("index_topk_freq", 0), config.integer("index_skip_topk_offset", 0)
    pattern = config.get("index_topk_pattern")
    if isinstance(pattern, str):
        letters = {"F": "full", "S": "shared"}
        if len(pattern) != layers or set(pattern) - set(letters):
            raise ConfigError(config.where("index_topk_pattern"), "one of F and S for each layer")
        config = Config(
            {"indexer_types": [letters[letter] for letter in pattern], **config.data},
            config.defaults,
            config.path,
        )
    elif pattern is not None:
        raise refuse(config, "index_topk_pattern", "a string of F and S")

    def kind(index: int) -> str:
        return "shared" if max(index - offset + 1, 0) % max(step, 1) else "full"

    found = kinds(config, kind, ("full", "shared"), "indexer_types")
    return _network(config, [item == "full" for item in found])


def axk1(config: Config) -> Network:
    """AXK1ForCausalLM: DeepSeek-V3 with a norm after each mixture."""
    config = read(config, AXK1, ROUTED)
    norm = Norm("post_mlp_layernorm", config.integer("hidden_size"))
    shared: Children = (*several_shared(config), Block("after", (norm,)))
    moe = experts(config, count="n_routed_experts", shared=shared)
    first, step = config.integer("first_k_dense_replace", 0), config.integer("moe_layer_freq")
    which = marked(config, lambda index: index >= first and index % step == 0)
    return sparse(config, latent_attention(latent(config)), swiglu(config), moe, which)


FAMILIES = {"axk1": axk1, "deepseek_v32": deepseek_v32, "glm_moe_dsa": glm_moe_dsa}
