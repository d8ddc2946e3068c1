"""Solving and minimising in one variable, on floats or on arrays of problems at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from service.core.numeric import Number, maximum, minimum, where

Function = Callable[[Number], Number]

_TINY = 1e-300
_GOLDEN = 0.6180339887498949


def falling_root(function: Function, low: Number, high: Number, steps: int = 60) -> Number:
    """Where a falling function crosses zero between `low` and `high`, by bisection."""
    for _ in range(steps):
        middle = (low + high) / 2.0
        above = function(middle) > 0.0
        low, high = where(above, middle, low), where(above, high, middle)
    return (low + high) / 2.0


def last_below(function: Function, low: Number, high: Number, width: float = 1e-9) -> Number:
    """The x up to which a rising function stays at or below zero, to `width`, from below.

    `function(low)` must be at most 0 and `function(high)` above it. The ITP method (Oliveira &
    Takahashi 2021): as sure as bisection where the function jumps, far fewer calls where it is
    smooth. The x returned was evaluated (or is `low`), and the function is at most 0 there.
    """
    below, above = _clipped(function(low)), _clipped(function(high))
    span = float(np.max(high - low))
    steps = max(int(np.ceil(np.log2(max(span, width) / width))), 0) + 1
    for step in range(steps + 1):
        if np.max(high - low) <= width:
            break
        radius = maximum(width * 2.0 ** (steps - step - 1) - (high - low) / 2.0, 0.0)
        x = _itp_point(low, high, below, above, radius)
        x = maximum(minimum(x, high - width / 2.0), low + width / 2.0)
        value = _clipped(function(x))
        under = value <= 0.0
        low, below = where(under, x, low), where(under, value, below)
        high, above = where(under, high, x), where(under, above, value)
    return low


def _itp_point(low: Number, high: Number, below: Number, above: Number, radius: Number) -> Number:
    """Interpolate, truncate towards the middle, project into the bisection's guarantee."""
    middle = (low + high) / 2.0
    chord = (above * low - below * high) / maximum(above - below, _TINY)
    side = where(middle >= chord, 1.0, -1.0)
    nudge = minimum(0.2 * (high - low) ** 2, abs(middle - chord))
    truncated = chord + side * nudge
    near = abs(truncated - middle) <= radius
    return where(near, truncated, middle - side * radius)


def _clipped(value: Number) -> Number:
    return maximum(minimum(value, 50.0), -50.0)


def least(function: Function, low: Number, high: Number, points: int = 65) -> Number:
    """Where a function is least between `low` and `high`: a grid, then golden sections."""
    step = (high - low) / (points - 1)
    best, at = function(low), low
    for index in range(1, points):
        x = low + index * step
        value = function(x)
        better = value < best
        best, at = where(better, value, best), where(better, x, at)
    return _golden(function, maximum(at - step, low), minimum(at + step, high))


def _golden(function: Function, low: Number, high: Number, steps: int = 40) -> Number:
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        lower = at_left <= at_right
        low, high = where(lower, low, left), where(lower, right, high)
        inner = where(lower, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        value = function(inner)
        left, right = where(lower, inner, right), where(lower, left, inner)
        at_left, at_right = where(lower, value, at_right), where(lower, at_left, value)
    return (low + high) / 2.0
