"""Servers as processes of their own: what they cost is read from the system's account of them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What a request cost: CPU seconds of the server, and seconds until the answer was there."""

    cpu: float
    p50: float
    p99: float


@dataclass
class Server:
    """A process that listens on loopback."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        """Resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def post(self, path: str, bodies: Sequence[Any], accept: str = "application/json") -> bytes:
        """Send the bodies one after the other over one connection; the last answer."""
        return self._sent(path, bodies, accept)[0]

    def cost(self, path: str, bodies: Sequence[Any], accept: str = "application/json") -> Cost:
        """What one of these requests costs."""
        before = self.cpu
        _, seconds = self._sent(path, bodies, accept)
        ordered = sorted(seconds)
        last = ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)]
        return Cost((self.cpu - before) / len(bodies), statistics.median(ordered), last)

    def _sent(self, path: str, bodies: Sequence[Any], accept: str) -> tuple[bytes, list[float]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "Accept": accept}
        seconds: list[float] = []
        answer = b""
        for text in [json.dumps(body) for body in bodies]:
            begun = time.perf_counter()
            connection.request("POST", path, text, headers)
            response = connection.getresponse()
            answer = response.read()
            seconds.append(time.perf_counter() - begun)
            assert response.status == 200, answer[:500]
        connection.close()
        return answer, seconds


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def started(
    module: str, *words: str, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`python -m module` serving on a port that it finds in MODEL_SIZING_PORT."""
    port = _free_port()
    environment = os.environ | (settings or {}) | {"MODEL_SIZING_PORT": str(port)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            assert process.poll() is None, f"{module} ended with {process.returncode}"
            time.sleep(0.01)
        yield Server(process, port, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
