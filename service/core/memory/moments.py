"""The moments of a step at which memory can peak, found once for each table.

Backward frees activations and makes gradients. Where gradients are made as they are needed, the
largest moment lies at the loss, at the layer that runs backward first or last in a run of equal
layers, or when all gradients exist; which one depends on the batch. The candidates that can win
at some batch are kept, at most `COUNT` of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.core.architecture.activations import Context
from service.core.architecture.gradients import working
from service.core.architecture.network import Placed
from service.core.architecture.operators import Activation, Convolution
from service.core.memory.calibration import coefficients, folded
from service.core.memory.saved import Saved, entered, layer_input, placed, traced
from service.core.memory.states import (
    NOTHING,
    Tally,
    holds,
    is_quantised,
    of_weight,
    scaled,
    split_of,
    sum_of,
)
from service.core.numeric import Number
from service.core.parameters import SplitCount

COUNT = 5
NOMINAL_SEQUENCES = (256.0, 2048.0, 16384.0)
"""Tokens at which candidates are compared."""
_BATCHES = tuple(2.0**exponent for exponent in range(-6, 12, 2))


class Moment(NamedTuple):
    """What is held at one moment of the backward pass."""

    held: Saved
    """Activations still kept, and gradients of activations."""
    gradients: SplitCount = NOTHING
    """Gradients of weights made so far."""
    weights: SplitCount = NOTHING
    """16-bit copies of weights still held, and the gradient that is being made."""

    def scaled(self, samples: Number) -> Moment:
        """With that many times the activations."""
        return self._replace(held=self.held.scaled(samples))


class Layers(NamedTuple):
    """A run of equal layers on one stage."""

    kept: Saved
    """From forward to backward, by one layer."""
    worst: Moment
    """The largest moment inside one layer's backward pass; its own gradients not counted."""
    gradients: SplitCount
    """Of one layer's weights."""
    cached: SplitCount
    """16-bit copies of one layer's weights."""
    number: float


class Site(NamedTuple):
    """Where on the pipeline a fold stands, and how its weights are stored."""

    pipeline: int
    stage: int
    stored: str
    hidden: int


def layers(leaves: Sequence[Placed], count: float, context: Context, site: Site) -> Layers:
    """One run of equal layers; `leaves` are those of one layer.

    A layer is the same on every stage and under every optimizer, so it is folded once.
    """
    kernels = replace(context.kernels, optimizer="adamw", offload="none")
    anywhere = site._replace(pipeline=1, stage=0)
    found = _layer(tuple(leaves), replace(context, kernels=kernels), anywhere)
    return found._replace(number=count)


@lru_cache(maxsize=256)
def _layer(leaves: tuple[Placed, ...], context: Context, site: Site) -> Layers:
    steps = traced(leaves, context, entered(leaves, context))
    total = Saved()
    worst, worst_size = Moment(Saved()), -1.0
    hidden = _stream_width(leaves, context, site)
    for leaf, amount in steps:
        total = total.plus(amount)
        alive = placed(leaf, working(leaf, context, hidden), recomputed=False)
        gradient, _ = weight_amounts([leaf], context, site)
        moment = Moment(total.plus(alive), weights=sum_of(gradient, dequantised([leaf], site)))
        size = _nominal(moment, NOMINAL_SEQUENCES[1])
        if size > worst_size:
            worst, worst_size = moment, size
    gradients, cached = weight_amounts(leaves, context, site)
    if context.kernels.recomputation == "full":
        entry = layer_input(leaves[0], context.formats.residual)
        worst = worst._replace(held=worst.held.plus(entry), weights=sum_of(cached, worst.weights))
        return Layers(entry, worst, gradients, NOTHING, 1.0)
    return Layers(total, worst, gradients, cached, 1.0)


folded(_layer.cache_clear)


def _stream_width(leaves: Sequence[Placed], context: Context, site: Site) -> float:
    """Elements of the residual stream, in its format.

    That of a convolutional layer has the layer's own width and the format of its products.
    """
    widths = [leaf.operator.outputs for leaf in leaves if isinstance(leaf.operator, Convolution)]
    if not widths or not isinstance(leaves[-1].operator, Activation):
        return float(site.hidden)
    return widths[-1] * context.formats.compute / context.formats.residual


def weight_amounts(
    leaves: Iterable[Placed], context: Context, site: Site
) -> tuple[SplitCount, SplitCount]:
    """(gradients, 16-bit copies) of the leaves' weights, in bytes."""
    gradients, cached = Tally(), Tally()
    for leaf in leaves:
        gradients.limit(leaf)
        cached.limit(leaf)
        for weight in leaf.weights():
            amounts = of_weight(weight, leaf, context.kernels, context.formats, site.stored)
            key = split_of(weight, leaf)
            cached.add(key, amounts.cached * leaf.weight_copies)
            if holds(weight, leaf, site.pipeline, site.stage):
                gradients.add(key, amounts.gradient * leaf.weight_copies)
    return gradients.total(), cached.total()


def dequantised(leaves: Iterable[Placed], site: Site) -> SplitCount:
    """16-bit copies of quantised matrices while they multiply, and what making them takes."""
    tally = Tally()
    for leaf in leaves:
        for weight in leaf.weights():
            if is_quantised(weight, leaf, site.stored):
                bytes_each = coefficients()[_dequantiser(site.stored)]
                tally.add(str(weight.split), bytes_each * weight.elements)
    return tally.total()


def _dequantiser(stored: str) -> str:
    grouped = stored.startswith(("gptq", "awq"))
    return "dequantisation_grouped" if grouped else "dequantisation_blockwise"


def moments(
    start: Moment, before: Saved, runs: Sequence[Layers], last: SplitCount, end: Moment
) -> tuple[Moment, ...]:
    """The candidates of a stage.

    `start`: the loss runs backward. `before`: kept in front of the layers. `last`: gradients of
    what follows the layers. `end`: all gradients exist.
    """
    candidates: list[Moment] = []
    made = last
    for run, (held, copies) in zip(reversed(runs), reversed(_in_front(before, runs)), strict=True):
        candidates.extend(
            Moment(
                held.plus(run.kept.scaled(left)).plus(run.worst.held),
                sum_of(scaled(run.gradients, run.number - 1.0 - left), made),
                sum_of(sum_of(scaled(run.cached, left + 1.0), copies), run.worst.weights),
            )
            for left in (run.number - 1.0, 0.0)
        )
        made = sum_of(scaled(run.gradients, run.number), made)
    return _winners([end, start, *candidates])


def _in_front(before: Saved, runs: Sequence[Layers]) -> list[tuple[Saved, SplitCount]]:
    """What all layers in front of each run keep, and their 16-bit copies of weights."""
    held, copies = before, NOTHING
    found: list[tuple[Saved, SplitCount]] = []
    for run in runs:
        found.append((held, copies))
        held = held.plus(run.kept.scaled(run.number))
        copies = sum_of(scaled(run.cached, run.number), copies)
    return found


def _winners(candidates: list[Moment]) -> tuple[Moment, ...]:
    """The first two, and those that with them come closest to the largest at every batch."""
    batch, tokens = np.array(np.meshgrid(_BATCHES, NOMINAL_SEQUENCES)).reshape(2, 1, -1)
    fixed, linear, square, weights = np.array([_amounts(m) for m in candidates]).T[:, :, None]
    sizes = (fixed + tokens * (linear + tokens * square)) * batch + weights
    goal = np.maximum(sizes.max(axis=0), 1.0)
    reached = sizes[:2].max(axis=0)
    chosen = candidates[:2]
    for _ in range(COUNT - 2):
        together = np.maximum(sizes, reached)
        best = int((1.0 - together / goal).sum(axis=1).argmin())
        if (together[best] == reached).all():
            break
        reached = together[best]
        chosen.append(candidates[best])
    return tuple(chosen)


def _amounts(moment: Moment) -> tuple[float, float, float, float]:
    """Bytes a sample: fixed, a token and a token squared; and those of weights."""
    fixed, linear, square = (sum(column) for column in zip(*moment.held, strict=True))
    weights = sum(
        part.tensor + part.key_value + part.whole + part.expert
        for part in (moment.gradients, moment.weights)
    )
    return fixed, linear, square, weights


def _nominal(moment: Moment, tokens: float) -> float:
    """Bytes of one sample and of the weights."""
    fixed, linear, square, weights = _amounts(moment)
    return fixed + tokens * (linear + tokens * square) + weights
