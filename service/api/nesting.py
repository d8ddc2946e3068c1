"""How deeply JSON text is nested and how many values it holds, told before it is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from service.api.problems import ProblemError

DEEPEST = 64
MOST_VALUES = 1_000_000

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
"""As much of a text as holds no string in part. Nothing is scanned twice."""
_PIECE = 1 << 18
_STEP = np.zeros(256, np.int32)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def check(body: bytes) -> None:
    """Raise ProblemError for a body that is nested too deeply or holds too many values."""
    if len(body) > MOST_VALUES and body.count(b",") > MOST_VALUES:
        detail = f"The body holds more than {MOST_VALUES} values; send less at once."
        raise ProblemError("too-many-values", detail)
    if _opens(body) > DEEPEST and _deeper(_pieces(body)) and _deeper(_bare(body)):
        detail = f"The body is nested more than {DEEPEST} levels deep; send it flatter."
        raise ProblemError("nested-too-deeply", detail)


def _opens(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _pieces(text: bytes) -> Iterator[bytes]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _bare(text: bytes) -> Iterator[bytes]:
    """The text in pieces without its strings; one that does not end, and what follows, left out."""
    start, size = 0, _PIECE
    while start < len(text):
        piece = text[start : start + size]
        found = _WHOLE.match(piece)
        end = found.end() if found else 0
        if end:
            yield _STRING.sub(b"", piece[:end])
            start, size = start + end, _PIECE
        elif len(piece) == size:
            size *= 2
        else:
            return


def _deeper(pieces: Iterable[bytes]) -> bool:
    """Whether more than `DEEPEST` brackets are open at once."""
    level = 0
    for piece in filter(None, pieces):
        levels = np.cumsum(_STEP[np.frombuffer(piece, np.uint8)])
        if level + int(levels.max()) > DEEPEST:
            return True
        level += int(levels[-1])
    return False
