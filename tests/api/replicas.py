"""Servers in processes of their own, clients without a library, and a small balancer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service.catalog.store import Store


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Replica:
    """One `python -m service` that can be killed and started again on its port."""

    def __init__(self, database_url: str, **settings: str) -> None:
        self.port = free_port()
        names = {"DATABASE_URL": database_url, "PORT": str(self.port), "LOG_LEVEL": "error"}
        self.environment = os.environ | {
            f"MODEL_SIZING_{name}": value for name, value in (names | settings).items()
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "service"]
        self.process = subprocess.Popen(command, env=self.environment)
        for _ in range(1200):
            assert self.process.poll() is None, "the replica stopped while starting"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
                return
            time.sleep(0.05)
        raise AssertionError("the replica did not become ready")

    def kill(self) -> None:
        """SIGKILL: it has no chance to finish anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def replicas(database_url: str, count: int, **settings: str) -> Iterator[list[Replica]]:
    """Ready replicas over one migrated and seeded database."""
    store = Store(database_url)
    store.migrate()
    store.seed()
    store.close()
    made = [Replica(database_url, **settings) for _ in range(count)]
    try:
        for replica in made:
            replica.start()
        yield made
    finally:
        for replica in made:
            replica.kill()


def http(path: str, document: Any) -> bytes:
    """A POST as it goes over the wire."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def exchanged(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> tuple[int, bytes]:
    """Status and body of one request on an open connection. Raises OSError where it breaks."""
    writer.write(message)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length:"))
        return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
    except asyncio.IncompleteReadError as broken:
        raise ConnectionResetError("the connection broke") from broken


@contextlib.asynccontextmanager
async def balancer(ports: list[int]) -> Any:
    """Gives each connection to the next port that takes it; yields its own port."""
    turn = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        for _ in ports:
            turn += 1
            with contextlib.suppress(OSError):
                back, forth = await asyncio.open_connection("127.0.0.1", ports[turn % len(ports)])
                await asyncio.gather(_pumped(reader, forth), _pumped(back, writer))
                return
        await closed(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.2)  # connections that are being closed


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    await closed(writer)
