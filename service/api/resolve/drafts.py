"""The draft of an inference workload: its model, checked against the model that verifies."""

from __future__ import annotations

from service.api.problems import at, within
from service.api.request_serving import DraftSpec
from service.api.resolve import models
from service.api.resolve.ledger import Ledger
from service.catalog.snapshot import Snapshot
from service.core.architecture.network import Network
from service.core.kv_cache import table
from service.core.serving import Draft
from service.core.weight_formats import UnknownFormat, weight_bytes

FIELD = "/workload/draft"


def draft(
    spec: DraftSpec | None, network: Network, snapshot: Snapshot, ledger: Ledger
) -> Draft | None:
    """What proposes tokens for `network`. Raises ProblemError."""
    if spec is None:
        return None
    tokens, acceptance = float(spec.tokens), float(spec.acceptance)
    if spec.model is None:
        return Draft(tokens, acceptance, relative_cost=float(spec.relative_cost or 0.0))
    with within(FIELD):
        small = models.resolve(snapshot, spec.model, Ledger())
    if not isinstance(small, Network) or not _proposes(small):
        detail = "a draft needs the architecture of a decoder that generates text"
        raise at("invalid-request", f"{FIELD}/model", detail)
    if small.vocabulary != network.vocabulary:
        sizes = f"{small.vocabulary:g} tokens, the model in use {network.vocabulary:g}"
        ledger.warn("draft-vocabulary", f"the draft's vocabulary has {sizes}: they must agree")
    weights = spec.weights or "bf16"
    try:
        weight_bytes(small, weights)
    except UnknownFormat as error:
        raise at("invalid-request", f"{FIELD}/weights", str(error)) from None
    return Draft(tokens, acceptance, small, weights)


def _proposes(network: Network) -> bool:
    if not (network.causal and network.tokens and network.heads()):
        return False
    cache = table(network)
    return bool(cache.cross == 0.0 and cache.cross_per_token == 0.0)
