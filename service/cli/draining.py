"""The server: what clients have sent when it is told to stop is answered, not broken off."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

LINGER_SECONDS = 1.0
"""How long open connections are still read after the last new one."""
_LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """Uvicorn, but before it closes idle connections it answers what is on its way on them.

    A client may have sent a request that the server has not read yet; to close the connection
    would reset it. Each answer says `Connection: close`, so the next request goes elsewhere.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more connections, empties the open ones, and shuts down."""
        for server in self.servers:
            server.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for _ in range(int(LINGER_SECONDS / _LOOK_SECONDS)):
            if not state.connections:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)


def serve(app: Any, **options: Any) -> int:
    """Serve until told to stop; the exit status."""
    server = Server(uvicorn.Config(app, **options))
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1
