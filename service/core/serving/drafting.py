"""Speculative decoding: a draft proposes tokens, the model in use verifies them in one step.

With n proposed tokens of which each is kept with chance a, a verification yields
`(1 - a^(n+1)) / (1 - a)` tokens (Leviathan et al. 2022, arXiv 2211.17192, equation 1) and costs
one step over n + 1 tokens a sequence plus n steps of the draft.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.core.architecture.network import Network
from service.core.hardware import Accelerator, Device
from service.core.numeric import Number
from service.core.serving import speed
from service.core.serving.calibration import evidence
from service.core.serving.load import Engine, Replica
from service.core.serving.tables import ServingTable, compute_format, format_class, table


@dataclass(frozen=True)
class Draft:
    """What proposes tokens: a small network, or something whose cost the caller knows."""

    tokens: Number
    """Proposed for each verification."""
    acceptance: Number
    """Chance that a proposed token is kept; the caller's, since no model of it is honest."""
    network: Network | None = None
    """None for a draft that is no model (n-grams, heads on the model in use)."""
    weights: str = "bf16"
    relative_cost: Number = 0.0
    """Without a network: time of one proposal over a step of the model in use."""

    @property
    def kept(self) -> Number:
        """Tokens of one verification."""
        return speed.speculative_tokens(self.tokens, self.acceptance)


@dataclass(frozen=True)
class Proposer:
    """A draft's network as folded, with the device and the coefficients that it runs on."""

    table: ServingTable
    device: Device
    engine: Engine


@dataclass(frozen=True)
class Drafting:
    """What speculative decoding comes to."""

    tokens_per_verification: Number
    speed_ratio: Number
    """Seconds a token without the draft over seconds with it."""
    weights_bytes: Number
    cache_bytes_per_token: Number


def proposer(
    draft: Draft | None, accelerator: Accelerator, engine: str, cache: str
) -> Proposer | None:
    """The draft's network on the same devices; None where there is none."""
    if draft is None or draft.network is None:
        return None
    known = evidence(accelerator.name, engine, format_class(draft.weights))
    folded = table(draft.network, draft.weights, cache)
    return Proposer(folded, accelerator.device(compute_format(draft.weights)), known.engine)


def held(folded: ServingTable, own: Proposer | None) -> ServingTable:
    """The model's table with the weights and caches of its draft: what memory has to hold."""
    if own is None:
        return folded
    return replace(
        folded,
        weights_bytes=folded.weights_bytes + own.table.weights_bytes,
        cache=folded.cache.plus(own.table.cache),
    )


def seconds_per_token(
    folded: ServingTable,
    replica: Replica,
    device: Device,
    engine: Engine,
    draft: Draft | None,
    own: Proposer | None,
) -> Number:
    """Mean seconds between output tokens; with a draft, of a verification over what it keeps."""
    if draft is None:
        return speed.seconds_per_step(folded, replica, device, engine)
    checked = replace(replica, drafted_tokens=draft.tokens, tokens_per_step=draft.kept)
    verified = speed.seconds_per_step(folded, checked, device, engine)
    if own is None:
        each = draft.relative_cost * speed.decode_step_seconds(folded, replica, device, engine)
        return (verified + draft.tokens * each) / draft.kept
    alone = replace(replica, tokens_per_step=draft.kept)
    each = speed.decode_step_seconds(own.table, alone, own.device, own.engine)
    prompts = speed.seconds_per_step(own.table, alone, own.device, own.engine) - each
    return (verified + prompts + draft.tokens * each) / draft.kept


def prefill_seconds(replica: Replica, own: Proposer | None) -> Number:
    """What the draft's own pass over the prompt adds."""
    if own is None:
        return 0.0
    return speed.prefill_seconds(own.table, replica, own.device, own.engine)


def first_token_seconds(replica: Replica, own: Proposer | None) -> Number:
    """What the draft adds to the time to the first token."""
    if own is None:
        return 0.0
    return speed.first_token_seconds(own.table, replica, own.device, own.engine)


def drafting(
    draft: Draft | None, own: Proposer | None, plain: Number, found: Number
) -> Drafting | None:
    """The draft's gain and bytes, from seconds a token without and with it."""
    if draft is None:
        return None
    return Drafting(
        draft.kept,
        plain / found,
        own.table.weights_bytes if own else 0.0,
        own.table.cache.per_token() if own else 0.0,
    )
