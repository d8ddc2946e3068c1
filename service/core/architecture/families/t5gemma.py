"""T5Gemma: Gemma 2's layers as an encoder and a decoder (Zhang et al. 2025, arXiv 2504.06225).

Both towers run the request's sequence length. Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.families.bart import CLASS
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, attention, head
from service.core.architecture.families.dense import biased, every
from service.core.architecture.families.encoder import encoder, on_top
from service.core.architecture.families.gemma import GEMMA2, geglu
from service.core.architecture.families.trunk import SLIDING, kinds, read, runs, ties, window
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Norm, Split
from service.core.architecture.polynomial import TOKENS
from service.core.architecture.tree import Block


def _gemma_tower(config: Config, source: int | None = None) -> Children:
    """Gemma 2's layers; a decoder's read a source of that width after their own attention."""
    hidden, norms = config.integer("hidden_size"), Norm("norm", config.integer("hidden_size"))
    shape = biased(config, causal=source is not None)
    size = window(config)
    mlp = geglu(config)

    def around(block: Block, name: str) -> Children:
        before = replace(norms, name=f"pre_{name}_layernorm")
        return before, block, replace(norms, name=f"post_{name}_layernorm")

    def make(kind: str) -> Children:
        reach = size if kind == SLIDING else None
        if reach is not None and source is None:
            reach *= 2
        halves = around(attention(replace(shape, window=reach)), "self_attn")
        if source is not None:
            crossed = replace(shape, causal=False, rotary=False, keys=TOKENS, key_inputs=source)
            block = replace(attention(crossed), name="cross_attention")
            halves = (*halves, *around(block, "cross_attn"))
        return (*halves, *around(mlp, "feedforward"))

    table = Embedding("embed_tokens", config.rows("vocab_size"), hidden, Split.TENSOR)
    layers = runs(kinds(config, every(2)), make)
    ends = Block("norm", (replace(norms, name="norm"),))
    name = "embedding" if source is None else "decoder_embedding"
    return Block(name, (replace(table, input=source is None),)), *layers, ends


def t5gemma(config: Config) -> Network:
    """T5GemmaForConditionalGeneration: Gemma 2's layers as an encoder and a decoder."""
    parts = [read(config.section(name), GEMMA2) for name in ("encoder", "decoder")]
    listening, speaking = parts
    width = listening.integer("hidden_size")
    tied = ties(config)
    rows, hidden = speaking.rows("vocab_size"), speaking.integer("hidden_size")
    tops: dict[str, Children] = {CLASS: (head(hidden, rows, tied),), "Model": ()}
    body = (*_gemma_tower(listening), *_gemma_tower(speaking, width))
    network = encoder(config, hidden, (*body, *on_top(config, tops, CLASS)))
    limit = speaking.integer("max_position_embeddings", 1, 1 << 40)
    return replace(network, causal=True, vocabulary=rows, sequence_limit=limit)


FAMILIES = {
    "t5gemma": t5gemma,
}
