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
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.architecture.gradients import working
from service.core.architecture.kept import Context
from service.core.architecture.operators import Activation, Convolution
from service.core.architecture.tree import Placed
from service.core.memory.calibration import coefficients, folded
from service.core.memory.saved import Saved, entered, layer_input, placed, traced
from service.core.memory.states import (
    NOTHING,
    SplitBytes,
    Tally,
    holds,
    is_quantised,
    of_weight,
    scaled,
    split_of,
    sum_of,
)
from service.core.numeric import FloatArray, Number

COUNT = 5
NOMINAL_SEQUENCES = (64.0, 256.0, 2048.0, 16384.0)
"""Tokens at which candidates are compared."""
_BATCHES = tuple(2.0**exponent for exponent in range(-6, 12, 2))


class Moment(NamedTuple):
    """What is held at one moment of the backward pass."""

    held: Saved
    """Activations still kept, and gradients of activations."""
    gradients: SplitBytes = NOTHING
    """Gradients of weights made so far."""
    weights: SplitBytes = NOTHING
    """16-bit copies of weights still held, and the gradient that is being made."""

    def scaled(self, samples: Number) -> Moment:
        """With that many times the activations."""
        return self._replace(held=self.held.scaled(samples))


class Layer(NamedTuple):
    """One kind of layer."""

    kept: Saved
    """From forward to backward."""
    worst: tuple[Moment, Moment]
    """The largest moments inside its backward pass, of many samples and of few."""
    gradients: SplitBytes
    """Of its weights."""
    cached: SplitBytes
    """16-bit copies of its weights."""

    def alone(self, few: int) -> Moment:
        """Its largest moment of many samples (0) or few (1), with the copies of its weights."""
        moment = self.worst[few]
        return moment._replace(weights=sum_of(self.cached, moment.weights))


class Stack(NamedTuple):
    """The layers of one stage in order."""

    kinds: tuple[Layer, ...]
    runs: tuple[tuple[int, float], ...]
    """Which kind, and how many of it follow each other."""

    def knowing(self, kinds: Iterable[Layer]) -> Stack:
        """With further kinds of layers."""
        return self._replace(kinds=(*self.kinds, *kinds))

    def running(self, first: int, parts: Sequence[tuple[object, float]], count: int) -> Stack:
        """With so many layers more, divided among the kinds from `first` on by their shares."""
        further = ((first + place, share * count) for place, (_, share) in enumerate(parts))
        return self._replace(runs=(*self.runs, *further))

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


def layer(leaves: Sequence[Placed], context: Context, site: Site, shared: bool = False) -> Layer:
    """The layer of these leaves; `shared`: others use its weights too.

    It is the same on every stage and under every optimizer, so it is folded once.
    """
    kernels = replace(context.kernels, optimizer="adamw", offload="none")
    anywhere = site._replace(pipeline=1, stage=0)
    return _layer(tuple(leaves), replace(context, kernels=kernels), anywhere, shared)


@lru_cache(maxsize=1024)
def _layer(leaves: tuple[Placed, ...], context: Context, site: Site, shared: bool) -> Layer:
    steps = traced(leaves, context, entered(leaves, context))
    total, found = Saved(), list[Moment]()
    hidden = _stream_width(leaves, context, site)
    made = [weight_amounts([leaf], context, site)[0] for leaf in leaves]
    if context.modules and not shared:
        made = list(accumulate(reversed(made), sum_of))[::-1]
    for (leaf, amount), behind in zip(steps, made, strict=True):
        total = total.plus(amount)
        alive = placed(leaf, working(leaf, context, hidden), recomputed=False)
        found.append(Moment(total.plus(alive), weights=sum_of(behind, dequantised([leaf], site))))
    worst = (max(found, key=_of_many), max(found, key=_of_one))
    gradients, cached = weight_amounts(leaves, context, site)
    if context.kernels.recomputation == "full":
        entry = layer_input(leaves[0], context.formats.residual)
        many, few = (
            moment._replace(held=moment.held.plus(entry), weights=sum_of(cached, moment.weights))
            for moment in worst
        )
        return Layer(entry, (many, few), gradients, NOTHING)
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
) -> tuple[SplitBytes, SplitBytes]:
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


def dequantised(leaves: Iterable[Placed], site: Site) -> SplitBytes:
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
    around: Sequence[Moment], before: Saved, stack: Stack, last: SplitBytes
) -> tuple[Moment, ...]:
    """The candidates of a stage.

    `around`: what comes around the layers' backward: all gradients exist, the loss runs backward,
    and others. `before`: kept in front of the layers. `last`: gradients of what follows them.

    In between the first or the last layer of a run goes backward: those in front of it are kept,
    those behind it have gradients. All sizes follow from how many there are of each kind, so only
    the moments that win are built.
    """
    amounts = [_amounts(each) for each in around]
    if not stack.runs:
        return _winners(np.array(amounts), around.__getitem__)
    own, front, behind = (np.concatenate([each, each]) for each in _passes(stack))
    few = (np.arange(len(own)) >= len(own) // 2).astype(np.intp)
    sizes = front @ _table(Moment(kind.kept, weights=kind.cached) for kind in stack.kinds)
    sizes += behind @ _table(Moment(Saved(), kind.gradients) for kind in stack.kinds)
    alone = _table(kind.alone(number) for number in (0, 1) for kind in stack.kinds)
    sizes += alone[own + few * len(stack.kinds)]
    outside = Moment(before, last)
    sizes += _amounts(outside)

    def built(index: int) -> Moment:
        if index < len(around):
            return around[index]
        row = index - len(around)
        numbers = (front[row].tolist(), behind[row].tolist())
        return _built(stack.kinds, stack.kinds[own[row]].alone(int(few[row])), numbers, outside)

    return _winners(np.array([*amounts, *sizes]), built)


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
    kinds: Sequence[Layer], alone: Moment, numbers: tuple[list[float], list[float]], outside: Moment
) -> Moment:
    """One layer goes backward, so many of each kind are in front of it and behind it."""
    held, made, copies = outside.held, outside.gradients, outside.weights
    for kind, before, after in zip(kinds, *numbers, strict=True):
        held = held.plus(kind.kept.scaled(before))
        made = sum_of(scaled(kind.gradients, after), made)
        copies = sum_of(scaled(kind.cached, before), copies)
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


def _of_many(moment: Moment) -> float:
    """Bytes of one sample, next to which those of weights vanish when there are many."""
    fixed, linear, square, _ = _amounts(moment)
    tokens = NOMINAL_SEQUENCES[2]
    return fixed + tokens * (linear + tokens * square)


def _of_one(moment: Moment) -> float:
    """Bytes of one sample and of the weights."""
    return _of_many(moment) + _amounts(moment)[3]
