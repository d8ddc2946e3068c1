"""What half and a quarter of a model would give up and save: loss, memory, speed side by side.

The smaller ones are the same architecture scaled evenly, not models that exist: parameters by the
factor f, width and depth by its cube root, so that weights and FLOPs go with f, the cache and the
activations of a token with f^(2/3), and what is paid a layer with f^(1/3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.core import parameters
from service.core.architecture.network import Network
from service.core.compute import Pairs
from service.core.hardware import Accelerator
from service.core.kv_cache import CacheTable
from service.core.scaling_laws import DEFAULT_LAW, Law, find_law
from service.core.serving import ServingEstimate, ServingJob, ServingTable, estimate_table, table

FACTORS = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Rung:
    """One size."""

    factor: float
    parameters: float
    loss: float
    """Nats a token that the law predicts for this size and the same training tokens."""
    loss_added: float
    """Over the full size."""
    serving: ServingEstimate


def ladder(
    network: Network,
    accelerator: Accelerator,
    job: ServingJob,
    training_tokens: float,
    law: str | Law = DEFAULT_LAW,
    factors: Sequence[float] = FACTORS,
) -> tuple[Rung, ...]:
    """The sizes from the full one down; each served as the job says.

    Raises what `estimate` raises, and LawError for a law without a loss.
    """
    form = find_law(law).additive
    whole = table(network, job.weights, job.cache)
    counted = float(parameters.count(network).total)
    full = float(form.loss(counted, training_tokens))
    return tuple(
        Rung(
            factor,
            counted * factor,
            float(form.loss(counted * factor, training_tokens)),
            float(form.loss(counted * factor, training_tokens)) - full,
            estimate_table(scaled(whole, factor), accelerator, job),
        )
        for factor in factors
    )


def scaled(whole: ServingTable, factor: float) -> ServingTable:
    """The table of the architecture at a share of its size."""
    area, line = factor ** (2.0 / 3.0), factor ** (1.0 / 3.0)
    return replace(
        whole,
        weights_bytes=whole.weights_bytes * factor,
        step_bytes=whole.step_bytes * factor,
        expert_bytes=whole.expert_bytes * factor,
        token_flops=whole.token_flops * factor,
        expert_flops=whole.expert_flops * factor,
        head_flops=whole.head_flops * line,
        prompt=whole.prompt.scaled(factor),
        prompt_pairs=_pairs(whole.prompt_pairs, area),
        contexts=tuple((window, flops * area) for window, flops in whole.contexts),
        crossed=whole.crossed.scaled(area),
        layers=whole.layers * line,
        launches=whole.launches * line,
        reduced=whole.reduced * area,
        dispatched=whole.dispatched * area,
        moved=whole.moved * area,
        moved_whole=whole.moved_whole * area,
        hidden=whole.hidden * line,
        widest=whole.widest * line,
        cache=_cache(whole.cache, area),
    )


def _pairs(pairs: Pairs, area: float) -> Pairs:
    windowed, around = (
        tuple((window, flops * area) for window, flops in reaches)
        for reaches in (pairs.windowed, pairs.around)
    )
    return Pairs(pairs.causal.scaled(area), pairs.full.scaled(area), windowed, around)


def _cache(cache: CacheTable, area: float) -> CacheTable:
    return replace(
        cache,
        groups=tuple(g._replace(token_bytes=g.token_bytes * area) for g in cache.groups),
        latent=cache.latent * area,
        state=cache.state * area,
        cross=cache.cross * area,
        cross_per_token=cache.cross_per_token * area,
    )
