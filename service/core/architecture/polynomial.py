"""Quadratic polynomials in the sequence length: how every per-sample quantity grows with it."""

from __future__ import annotations

from typing import NamedTuple

from service.core.numeric import Number


class Polynomial(NamedTuple):
    """`fixed + linear * s + square * s**2` for a sequence length of `s` tokens a sample."""

    fixed: Number = 0.0
    linear: Number = 0.0
    square: Number = 0.0

    def at(self, sequence_length: Number) -> Number:
        """The value for one sample of that many tokens."""
        return self.fixed + sequence_length * (self.linear + self.square * sequence_length)

    def scaled(self, factor: Number) -> Polynomial:
        """Each coefficient times the factor."""
        return Polynomial(self.fixed * factor, self.linear * factor, self.square * factor)

    def plus(self, other: Polynomial) -> Polynomial:
        """The sum of two polynomials."""
        return Polynomial(
            self.fixed + other.fixed, self.linear + other.linear, self.square + other.square
        )


ZERO = Polynomial()


class Stream(NamedTuple):
    """How many positions of one sample an operator sees: `fixed + per_token * s`.

    A decoder's stream is `(0, 1)`; a vision tower's is its number of patches and no tokens.
    """

    fixed: float = 0.0
    per_token: float = 1.0

    def positions(self) -> Polynomial:
        """The number of positions of one sample."""
        return Polynomial(self.fixed, self.per_token)

    def pairs(self, keys: Stream) -> Polynomial:
        """The number of (query, key) pairs of one sample, without a mask."""
        return Polynomial(
            self.fixed * keys.fixed,
            self.fixed * keys.per_token + self.per_token * keys.fixed,
            self.per_token * keys.per_token,
        )

    def divided(self, factor: float) -> Stream:
        """The stream after a pooling or merging that keeps one position in `factor`."""
        return Stream(self.fixed / factor, self.per_token / factor)


TOKENS = Stream()
"""The stream of the sequence itself."""


def fixed(positions: float) -> Stream:
    """A stream of a set number of positions a sample, whatever the sequence length."""
    return Stream(positions, 0.0)
