"""API keys: `Authorization: Bearer <secret>`, compared by hash in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.problems import ProblemError
from service.settings import ROLES, ApiKey, Settings, digest

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="model-sizing"'}
bearer = HTTPBearer(auto_error=False, description="A key out of MODEL_SIZING_API_KEYS.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def find(settings: Settings, secret: str) -> ApiKey | None:
    """The key with this secret; every key is compared, whichever it is."""
    given = digest(secret)
    found: ApiKey | None = None
    for key in settings.api_keys:
        if hmac.compare_digest(key.digest, given):
            found = key
    return found


def authorised(settings: Settings, role: str, secret: str | None) -> str:
    """Who it is that may act in this role, for the records. Raises ProblemError for nobody."""
    if role == "read" and settings.reads == "open":
        return "anyone"
    if role != "read" and settings.writes == "closed":
        raise ProblemError("forbidden", "Writing is switched off here (MODEL_SIZING_WRITES).")
    if not settings.api_keys and settings.loopback:
        return "loopback"
    if secret is None:
        detail = "Send a key as `Authorization: Bearer <secret>`."
        raise ProblemError("unauthenticated", detail, headers=_CHALLENGE)
    key = find(settings, secret)
    if key is None:
        raise ProblemError("unauthenticated", "The key is not known here.", headers=_CHALLENGE)
    if ROLES.index(key.role) < ROLES.index(role):
        raise ProblemError("forbidden", f"The key may {key.role}; this needs {role}.")
    return f"{key.role}:{key.digest.hex()[:8]}"


def required(role: str) -> Callable[[Request, HTTPAuthorizationCredentials | None], str]:
    """A dependency that lets only keys of the role (or above it) pass, and names them."""

    def depend(request: Request, credentials: Credentials) -> str:
        settings: Settings = request.app.state.settings
        return authorised(settings, role, credentials.credentials if credentials else None)

    return depend


Writer = Annotated[str, Depends(required("write"))]
"""Who writes; refused without a key that may."""
