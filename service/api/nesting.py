"""How deeply JSON text is nested and how many values it holds, told before it is parsed."""

from __future__ import annotations

import re

import numpy as np

from service.api.problems import ProblemError

DEEPEST = 64
MOST_VALUES = 1_000_000

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\Z)', re.DOTALL)
"""Ends at the end of the text at the latest: no text is scanned twice."""
_PIECE = 1 << 18
_STEP = np.zeros(256, np.int32)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def check(body: bytes) -> None:
    """Raise ProblemError for a body that is nested too deeply or holds too many values."""
    if _opens(body) > DEEPEST and deeper(body) and deeper(_STRING.sub(b"", body)):
        detail = f"The body is nested more than {DEEPEST} levels deep; send it flatter."
        raise ProblemError("nested-too-deeply", detail)
    if len(body) > MOST_VALUES and body.count(b",") > MOST_VALUES:
        detail = f"The body holds more than {MOST_VALUES} values; send less at once."
        raise ProblemError("too-many-values", detail)


def _opens(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def deeper(text: bytes) -> bool:
    """Whether more than `DEEPEST` brackets are open at once, those inside strings included."""
    level = 0
    for start in range(0, len(text), _PIECE):
        levels = np.cumsum(_STEP[np.frombuffer(text[start : start + _PIECE], np.uint8)])
        if level + int(levels.max()) > DEEPEST:
            return True
        level += int(levels[-1])
    return False
