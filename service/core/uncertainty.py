"""Intervals: a central value with the bounds between which nine in ten outcomes lie."""

from __future__ import annotations

from typing import NamedTuple

from service.core.numeric import Number, exp, log, sqrt

LEVEL = 0.9
"""The share of outcomes that an interval is meant to hold."""


class Interval(NamedTuple):
    """A predicted quantity: floats, or arrays of one shape, in the unit of the quantity."""

    value: Number
    low: Number
    high: Number

    def times(self, factor: Number) -> Interval:
        """The interval of the quantity multiplied by an exact, non-negative factor."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, amount: Number) -> Interval:
        """The interval of the quantity plus an exact amount."""
        return Interval(self.value + amount, self.low + amount, self.high + amount)

    def inverse(self, numerator: Number = 1.0) -> Interval:
        """The interval of `numerator / quantity`; the bounds change places."""
        return Interval(numerator / self.value, numerator / self.high, numerator / self.low)


def relative(value: Number, low: Number, high: Number) -> Interval:
    """An interval whose bounds are log-ratios to the value: `low <= 0 <= high`."""
    return Interval(value, value * exp(low), value * exp(high))


def product(a: Interval, b: Interval) -> Interval:
    """The product of two independent, positive, log-normal quantities.

    Log half-widths add in quadrature on each side: sqrt(x^2 + y^2).
    """
    (one, one_low, one_high), (other, other_low, other_high) = a, b
    below = log((one + _NOTHING) / (one_low + _NOTHING))
    other_below = log((other + _NOTHING) / (other_low + _NOTHING))
    above = log((one_high + _NOTHING) / (one + _NOTHING))
    other_above = log((other_high + _NOTHING) / (other + _NOTHING))
    return relative(
        one * other,
        -sqrt(below * below + other_below * other_below),
        sqrt(above * above + other_above * other_above),
    )


def added(a: Interval, b: Interval) -> Interval:
    """The sum of two quantities whose errors may go together: bounds add up."""
    return Interval(a.value + b.value, a.low + b.low, a.high + b.high)


_NOTHING = 1e-300
"""Lost in any quantity but zero, whose bounds are zero too and have a ratio of 1."""
