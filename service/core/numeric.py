"""Element-wise functions that take plain floats or numpy arrays alike.

A request works on floats, a sweep on arrays, and both run the same formula. numpy's own functions
cost about a microsecond on a float, which is ten times the arithmetic of most formulas; these
dispatch on the type first and stay on the `math` module for floats.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = Any
"""A float, an int, or a float64 array. Formulas broadcast."""

FloatArray = NDArray[np.float64]

_ARRAY = np.ndarray  # compared by identity: half the cost of isinstance, which a request pays often


def maximum(a: Number, b: Number) -> Number:
    """The larger of two, element by element."""
    if type(a) is _ARRAY or type(b) is _ARRAY:
        return np.maximum(a, b)
    return a if a >= b else b


def minimum(a: Number, b: Number) -> Number:
    """The smaller of two, element by element."""
    if type(a) is _ARRAY or type(b) is _ARRAY:
        return np.minimum(a, b)
    return a if a <= b else b


def where(condition: Number, a: Number, b: Number) -> Number:
    """`a` where the condition holds, else `b`. Both are evaluated: keep them finite."""
    if type(condition) is _ARRAY:
        return np.where(condition, a, b)
    return a if condition else b


def logical_and(a: Number, b: Number) -> Number:
    """Both, element by element."""
    if type(a) is _ARRAY or type(b) is _ARRAY:
        return np.logical_and(a, b)
    return a and b


def ceil(value: Number) -> Number:
    """The smallest whole number that is not below the value."""
    return np.ceil(value) if type(value) is _ARRAY else math.ceil(value)


def floor(value: Number) -> Number:
    """The largest whole number that is not above the value."""
    return np.floor(value) if type(value) is _ARRAY else math.floor(value)


def exp(value: Number) -> Number:
    """The exponential function."""
    return np.exp(value) if type(value) is _ARRAY else math.exp(value)


def log(value: Number) -> Number:
    """The natural logarithm."""
    return np.log(value) if type(value) is _ARRAY else math.log(value)


def sqrt(value: Number) -> Number:
    """The square root."""
    return np.sqrt(value) if type(value) is _ARRAY else math.sqrt(value)


def power(base: Number, exponent: Number) -> Number:
    """`base ** exponent` for a positive base."""
    if type(base) is _ARRAY or type(exponent) is _ARRAY:
        return np.power(base, exponent)
    return base**exponent
