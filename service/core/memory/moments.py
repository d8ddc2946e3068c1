"""The moments of a step at which memory can peak, found once for each table.

Backward frees activations and makes gradients. Where gradients are made as they are needed, the
largest moment lies at the loss, at the layer that runs backward first or last in a run of equal
layers, or when all gradients exist; which one depends on the batch. The candidates that can win
at some batch are kept, always `COUNT` of them so that tables stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.core.architecture.activations import Context
from service.core.architecture.gradients import working
from service.core.architecture.network import Placed
from service.core.architecture.operators import Activation, Convolution
from service.core.memory.calibration import coefficients
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
    """One run of equal layers; `leaves` are those of one layer."""
    steps = traced(leaves, context, entered(leaves, context))
    total = Saved()
    worst, worst_size = Moment(Saved()), -1.0
    hidden = _stream_width(leaves, context, site)
    for leaf, amount in steps:
        total = total.plus(amount)
        alive = placed(leaf, working(leaf, context, hidden), recomputed=False)
        gradient, _ = weight_amounts([leaf], context, site)
        moment = Moment(total.plus(alive), weights=sum_of(gradient, dequantised([leaf], site)))
        size = _nominal(moment, 1.0, NOMINAL_SEQUENCES[1])
        if size > worst_size:
            worst, worst_size = moment, size
    gradients, cached = weight_amounts(leaves, context, site)
    if context.kernels.recomputation == "full":
        entry = layer_input(leaves[0], context.formats.residual)
        worst = worst._replace(held=worst.held.plus(entry), weights=sum_of(cached, worst.weights))
        return Layers(entry, worst, gradients, NOTHING, count)
    return Layers(total, worst, gradients, cached, count)


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
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        held, copies = before, NOTHING
        for other in runs[:index]:
            held = held.plus(other.kept.scaled(other.number))
            copies = sum_of(scaled(other.cached, other.number), copies)
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


def _winners(candidates: list[Moment]) -> tuple[Moment, ...]:
    """The first two, and those that with them come closest to the largest at every batch."""
    points = [(batch, tokens) for batch in _BATCHES for tokens in NOMINAL_SEQUENCES]
    sizes = [[_nominal(moment, *point) for point in points] for moment in candidates]
    goal = [max(column) for column in zip(*sizes, strict=True)]
    reached = [max(pair) for pair in zip(sizes[0], sizes[1], strict=True)]
    chosen = candidates[:2]
    for _ in range(COUNT - 2):
        together = [[max(a, b) for a, b in zip(reached, row, strict=True)] for row in sizes]
        best = min(range(len(sizes)), key=lambda index: _shortfall(together[index], goal))
        reached = together[best]
        chosen.append(candidates[best])
    return tuple(chosen)


def _shortfall(reached: list[float], goal: list[float]) -> float:
    return sum(1.0 - have / max(want, 1.0) for have, want in zip(reached, goal, strict=True))


def _nominal(moment: Moment, batch: float, tokens: float) -> float:
    weights: float = sum(
        part.tensor + part.key_value + part.whole + part.expert
        for part in (moment.gradients, moment.weights)
    )
    return moment.held.nominal(tokens) * batch + weights
