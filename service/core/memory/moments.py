"""The moments of a step at which memory can peak, found once for each table.

Backward frees activations and makes gradients. Where gradients are made as they are needed, the
largest moment lies at the loss, at the layer that runs backward first or last in a run of equal
layers, or when all gradients exist; which one depends on the batch. The candidates that can win
at some batch are kept, at most `COUNT` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.architecture.activations import Context
from service.core.architecture.gradients import working
from service.core.architecture.operators import Activation, Convolution
from service.core.architecture.tree import Placed
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
from service.core.numeric import FloatArray, Number
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


class Layer(NamedTuple):
    """One kind of layer."""

    kept: Saved
    """From forward to backward."""
    worst: Moment
    """The largest moment inside its backward pass; its own gradients not counted."""
    gradients: SplitCount
    """Of its weights."""
    cached: SplitCount
    """16-bit copies of its weights."""

    @property
    def alone(self) -> Moment:
        """Its largest moment, with the copies of its weights."""
        return self.worst._replace(weights=sum_of(self.cached, self.worst.weights))


class Stack(NamedTuple):
    """The layers of one stage in order."""

    kinds: tuple[Layer, ...]
    runs: tuple[tuple[int, float], ...]
    """Which kind, and how many of it follow each other."""

    def kept(self) -> Saved:
        """From forward to backward, by all layers."""
        total = Saved()
        for place, kind in enumerate(self.kinds):
            number = sum(number for index, number in self.runs if index == place)
            total = total.plus(kind.kept.scaled(number))
        return total


class Site(NamedTuple):
    """Where on the pipeline a fold stands, and how its weights are stored."""

    pipeline: int
    stage: int
    stored: str
    hidden: int


def layer(leaves: Sequence[Placed], context: Context, site: Site) -> Layer:
    """The layer of these leaves.

    It is the same on every stage and under every optimizer, so it is folded once.
    """
    kernels = replace(context.kernels, optimizer="adamw", offload="none")
    anywhere = site._replace(pipeline=1, stage=0)
    return _layer(tuple(leaves), replace(context, kernels=kernels), anywhere)


@lru_cache(maxsize=256)
def _layer(leaves: tuple[Placed, ...], context: Context, site: Site) -> Layer:
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
        return Layer(entry, worst, gradients, NOTHING)
    return Layer(total, worst, gradients, cached)


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
    start: Moment, before: Saved, stack: Stack, last: SplitCount, end: Moment
) -> tuple[Moment, ...]:
    """The candidates of a stage.

    `start`: the loss runs backward. `before`: kept in front of the layers. `last`: gradients of
    what follows the layers. `end`: all gradients exist.

    In between the first or the last layer of a run goes backward: those in front of it are kept,
    those behind it have gradients. All sizes follow from how many there are of each kind, so only
    the moments that win are built.
    """
    if not stack.runs:
        return _winners(np.array([_amounts(end), _amounts(start)]), [end, start].__getitem__)
    own, front, behind = _passes(stack)
    sizes = front @ _table(Moment(kind.kept, weights=kind.cached) for kind in stack.kinds)
    sizes += behind @ _table(Moment(Saved(), kind.gradients) for kind in stack.kinds)
    sizes += _table(kind.alone for kind in stack.kinds)[own]
    sizes += _amounts(Moment(before, last))

    def built(index: int) -> Moment:
        if index < 2:
            return (end, start)[index]
        row = index - 2
        numbers = (front[row].tolist(), behind[row].tolist())
        return _built(stack, own[row], *numbers, Moment(before, last))

    return _winners(np.array([_amounts(end), _amounts(start), *sizes]), built)


def _passes(stack: Stack) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """(kind, numbers of each kind in front, and behind) of the layers that may be the worst.

    Those are the last and the first layer of each run, in the order of the backward pass.
    """
    kinds, numbers = np.array(stack.runs).T
    own = kinds.astype(np.intp)
    run = np.eye(len(stack.kinds))[own]
    rest = run * (numbers[:, None] - 1.0)
    through = np.cumsum(run + rest, axis=0)
    front, behind = through - run - rest, through[-1] - through
    two = (len(stack.runs) * 2, len(stack.kinds))
    fronts = np.stack([front + rest, front], axis=1)[::-1].reshape(two)
    behinds = np.stack([behind, behind + rest], axis=1)[::-1].reshape(two)
    return own[::-1].repeat(2), fronts, behinds


def _table(found: Iterable[Moment]) -> FloatArray:
    return np.array([_amounts(each) for each in found])


def _built(
    stack: Stack, own: int, front: list[float], behind: list[float], around: Moment
) -> Moment:
    """One layer goes backward; `around`: what is held outside the layers."""
    held, made, copies = around.held, around.gradients, around.weights
    for kind, before, after in zip(stack.kinds, front, behind, strict=True):
        held = held.plus(kind.kept.scaled(before))
        made = sum_of(scaled(kind.gradients, after), made)
        copies = sum_of(scaled(kind.cached, before), copies)
    alone = stack.kinds[own].alone
    return Moment(held.plus(alone.held), made, sum_of(alone.weights, copies))


def _winners(amounts: FloatArray, built: Callable[[int], Moment]) -> tuple[Moment, ...]:
    """The first two, and those that with them come closest to the largest at every batch."""
    batch, tokens = np.array(np.meshgrid(_BATCHES, NOMINAL_SEQUENCES)).reshape(2, 1, -1)
    fixed, linear, square, weights = amounts.T[:, :, None]
    sizes = (fixed + tokens * (linear + tokens * square)) * batch + weights
    goal = np.maximum(sizes.max(axis=0), 1.0)
    reached = sizes[:2].max(axis=0)
    chosen = [0, 1]
    for _ in range(COUNT - 2):
        together = np.maximum(sizes, reached)
        best = int((1.0 - together / goal).sum(axis=1).argmin())
        if (together[best] == reached).all():
            break
        reached = together[best]
        chosen.append(best)
    return tuple(built(index) for index in chosen)


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
