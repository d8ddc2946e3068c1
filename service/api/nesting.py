"""How deeply JSON is nested and how much it holds, told before it is parsed or written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from service.api.problems import ProblemError

DEEPEST = 64
MOST_VALUES = 1_000_000
MOST_WEIGHT = 1_200_000
"""Of values and, beyond them, of the lists, objects and names that hold them: two, four and two
each, by what they take in memory. Some 40 megabytes."""
SHORT_NODES, SHORT_CHARACTERS = 4_096, 65_536
"""Of a document that is worth remembering."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
"""As much of a text as holds no string in part. Nothing is scanned twice."""
_PIECE = 1 << 18
_STEP = np.zeros(256, np.int32)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def check(body: bytes, share: int = 1) -> None:
    """Raise ProblemError for a body that is nested too deeply or holds too many values.

    `share`: how many times as much it may hold as other bodies.
    """
    if _opens(body) > DEEPEST and _deeper(_pieces(body)) and _deeper(_bare(body)):
        detail = f"The body is nested more than {DEEPEST} levels deep; send it flatter."
        raise ProblemError("nested-too-deeply", detail)
    if 4 * len(body) > MOST_WEIGHT:
        values, weight = _held(body)
        if values > MOST_VALUES or weight > MOST_WEIGHT * share:
            detail = (
                "The body holds more values, lists and objects than one may. Of a model with very "
                "many tensors send the config.json, or the headers of some files at a time."
            )
            raise ProblemError("too-many-values", detail)


def _held(body: bytes) -> tuple[int, int]:
    """Values, and their weight."""
    values = body.count(b",")
    holders = 2 * body.count(b"[") + 4 * body.count(b"{") + 2 * body.count(b":")
    return values, values + holders


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


def short(document: Any) -> bool:
    """Whether a parsed document is short, without looking at all of a long one."""
    nodes, characters, waiting = 0, 0, [document]
    while waiting and characters <= SHORT_CHARACTERS:
        node = waiting.pop()
        nodes += 1
        if isinstance(node, str):
            characters += len(node)
        elif isinstance(node, dict | list):
            nodes += len(node)
            if nodes > SHORT_NODES:
                return False
            waiting.extend((*node, *node.values()) if isinstance(node, dict) else node)
    return characters <= SHORT_CHARACTERS
