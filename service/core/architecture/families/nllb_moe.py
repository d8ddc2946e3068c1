"""NLLB-MoE: M2M-100's towers with experts in every n-th layer (arXiv 2207.04672).

Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.bart import (
    M2M,
    PRE_NORM,
    conditional,
    shared_tables,
    tower_layer,
    tower_norm,
)
from service.core.architecture.families.config import Config
from service.core.architecture.families.decoder import Children, dropped, mixture
from service.core.architecture.families.trunk import probability, read, runs
from service.core.architecture.network import Network
from service.core.architecture.polynomial import TOKENS
from service.core.architecture.tree import Block

NLLB_MOE = M2M | {
    "num_experts": 128,
    "encoder_sparse_step": 4,
    "decoder_sparse_step": 4,
    "router_bias": False,
}


def nllb_moe(config: Config) -> Network:
    """NllbMoeForConditionalGeneration: every n-th feed-forward has two of E experts."""
    config = read(config, NLLB_MOE)
    hidden = config.integer("d_model")
    shared, heard, spoken = shared_tables(config, hidden, "shared")
    dropout = dropped(hidden, probability(config, "dropout"))

    def tower(side: str) -> Children:
        step = config.integer(f"{side}_sparse_step", 0)
        source = TOKENS if side == "decoder" else None
        *rest, dense = tower_layer(config, side, PRE_NORM, source)
        assert isinstance(dense, Block)
        count, bias = config.integer("num_experts"), config.flag("router_bias")
        sparse = mixture(hidden, dense, count, min(2, count), bias, router="classifier")
        layers = range(config.layers(f"{side}_layers"))
        pattern = [bool(step) and (index + 1) % step == 0 for index in layers]
        return runs(pattern, lambda is_sparse: (*rest, sparse if is_sparse else dense))

    parts = (
        Block("embedding", (shared, heard, *dropout)),
        *tower("encoder"),
        tower_norm(config, "encoder_norm"),
        Block("decoder_embedding", (spoken, *dropout)),
        *tower("decoder"),
        tower_norm(config, "decoder_norm"),
    )
    return conditional(config, parts)


FAMILIES = {
    "nllb-moe": nllb_moe,
}
