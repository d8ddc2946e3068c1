"""How far a long piece of work is, for people: one line that is written over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

WIDTH = 30


def bar(what: str, out: TextIO | None = None) -> Callable[[int, int], None]:
    """A function that is told (done, all) and draws a bar; silent where nobody looks.

    `out`: standard error unless given.
    """
    stream = out or sys.stderr

    def draw(done: int, whole: int) -> None:
        if not stream.isatty():
            return
        full = WIDTH * done // max(whole, 1)
        end = "\n" if done >= whole else ""
        line = f"\r{what} [{'#' * full}{' ' * (WIDTH - full)}] {done:,} of {whole:,}{end}"
        stream.write(line)
        stream.flush()

    return draw
