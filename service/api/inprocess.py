"""One request answered in this process: what the command line asks, the API answers."""

from __future__ import annotations

from starlette.types import Message, Scope

from service.api.app import create_app
from service.api.lifespan import lifespan
from service.settings import Settings


async def answered(
    settings: Settings, path: str, body: bytes, method: str = "POST"
) -> tuple[int, bytes]:
    """The status and body of the answer to a JSON body, empty for a GET."""
    app = create_app(settings)
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async with lifespan(app):
        await app(scope, receive, send)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])
