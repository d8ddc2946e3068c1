"""Pure ASGI layers around the application, outermost first.

Observe     request id, log line, metrics, security headers, the last resort for exceptions
Alias       /v1/... is the same as /...
Lock        where reading is closed: a key for everything but the probes
BodyGuard   reads the body: its size, the time it takes, how deeply it is nested
Gate        how many requests may be in progress at once

The gate stands inside the body guard, so that a client that sends slowly holds no place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.context import request_id
from service.api.keys import authorised
from service.api.nesting import check
from service.api.problems import MEDIA_TYPE, ProblemError, encoded
from service.settings import Settings

logger = logging.getLogger("service.access")
failures = logging.getLogger("service.failures")

PROBES = frozenset(("/livez", "/readyz", "/metrics"))
BULK = frozenset(
    ("/sweep", "/estimate/batch", "/layouts", "/alternatives", "/places", "/scaling-laws/fit")
)
"""What works longest: it gets half of the places, so that the rest goes on beside it."""
BODY_SECONDS = 30.0
IMPORT_FACTOR = 4
"""How much larger than other bodies the body of an import may be."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        b"object-src 'none'",
    ),
)

Record = Callable[[str, str, int, float], None]
"""Told of each finished request: method, route template, status, seconds."""


async def refuse(scope: Scope, send: Send, problem: ProblemError) -> None:
    """Answer with a problem document without the application."""
    body = encoded(problem.document(scope["path"], request_id.get()))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    headers += [(k.lower().encode(), v.encode()) for k, v in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Observe:
    """Names the request, records how it went, and lets no exception out without an answer."""

    def __init__(self, app: ASGIApp, record: Record) -> None:
        self.app = app
        self.record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        name = _named(scope)
        request_id.set(name)
        status = 0

        async def send_stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                names = {key for key, _ in given}
                own = [entry for entry in SECURITY_HEADERS if entry[0] not in names]
                message["headers"] = [*given, (b"x-request-id", name.encode("latin-1")), *own]
            await send(message)

        try:
            await self.app(scope, receive, send_stamped)
        except Exception:
            failures.exception("a request failed", extra={"fields": {"request_id": name}})
            if status:
                raise
            detail = f"The service failed; it is logged under request {name}."
            await refuse(scope, send_stamped, ProblemError("internal-error", detail))
        finally:
            self._finish(scope, name, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, name: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unmatched")
        self.record(method, route, status, seconds)
        if route not in PROBES and logger.isEnabledFor(logging.INFO):
            fields = {
                "request_id": name,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1e3, 3),
            }
            logger.info("request", extra={"fields": fields})


def _named(scope: Scope) -> str:
    for key, value in scope["headers"]:
        if key == b"x-request-id":
            given: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return given
    return os.urandom(16).hex()


class Alias:
    """Serves /v1/... as /...: the one version that there is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the prefix off."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            scope["path"] = scope["path"][3:]
        await self.app(scope, receive, send)


class Lock:
    """Answers nobody without a key that may read. Only there where reading is closed."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not; its body is not read before."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            try:
                authorised(self.settings, "read", _secret(scope))
            except ProblemError as problem:
                await refuse(scope, send, problem)
                return
        await self.app(scope, receive, send)


def _secret(scope: Scope) -> str | None:
    for key, value in scope["headers"]:
        if key == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if kind.lower() == "bearer" else None
    return None


class BodyGuard:
    """Reads the whole body before the application runs, and refuses what is no fair request."""

    def __init__(self, app: ASGIApp, limit: int, seconds: float = BODY_SECONDS) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body is None:
                return
            if not _is_csv(scope):
                check(body, _share(scope))
        except ProblemError as problem:
            await refuse(scope, send, problem)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, or None where the client went away."""
        declared, limit = _declared(scope), self.limit * _share(scope)
        if declared is not None and declared > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > limit:
                        raise _too_large(limit)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            detail = f"The body did not arrive within {self.seconds:g} seconds."
            close = {"Connection": "close"}
            raise ProblemError("body-too-slow", detail, headers=close) from None


def _share(scope: Scope) -> int:
    return IMPORT_FACTOR if scope["path"].startswith("/import/") else 1


def _too_large(limit: int) -> ProblemError:
    detail = f"The body is larger than {limit} bytes; send less, or in several requests."
    return ProblemError("body-too-large", detail, headers={"Connection": "close"})


def _is_csv(scope: Scope) -> bool:
    return any(
        key == b"content-type" and value.lower().startswith(b"text/csv")
        for key, value in scope["headers"]
    )


def _has_body(scope: Scope) -> bool:
    return any(key in (b"content-length", b"transfer-encoding") for key, _ in scope["headers"])


def _declared(scope: Scope) -> int | None:
    for key, value in scope["headers"]:
        if key == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class Gate:
    """Lets only so many requests in at once; the others are told at once to come back."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limits = {False: limit, True: max(limit // 2, 1)}
        """For all requests, and for those of BULK among them."""
        self.inside = {False: 0, True: 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        kinds = {False, scope["path"] in BULK}
        full = [kind for kind in kinds if self.inside[kind] >= self.limits[kind]]
        if full:
            detail = f"{self.limits[full[0]]} requests are in progress; try again in a second."
            problem = ProblemError("overloaded", detail, headers={"Retry-After": "1"})
            await refuse(scope, send, problem)
            return
        self._count(kinds, 1)
        try:
            await self.app(scope, receive, send)
        finally:
            self._count(kinds, -1)

    def _count(self, kinds: set[bool], change: int) -> None:
        for kind in kinds:
            self.inside[kind] += change
