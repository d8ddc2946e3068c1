"""Settings from the environment, read once at start; nothing is opened here."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "MODEL_SIZING_"
ROLES = ("read", "write", "admin")
_WEAK = frozenset(("secret", "password", "changeme", "change-me", "default", "admin", "token"))
_SHORTEST_SECRET, _FEWEST = 16, 6
"""Characters of a secret, and different ones among them, that are not too few."""


class SettingsError(ValueError):
    """A setting that the service will not start with. The message names the variable."""


@dataclass(frozen=True)
class ApiKey:
    """One key: its role and the SHA-256 of its secret. The secret itself is not kept."""

    role: str
    digest: bytes
    weak: bool = False
    """Short or a well-known placeholder: good enough on loopback only."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; each field is the variable `MODEL_SIZING_<FIELD>`."""

    database_url: str = field(default="sqlite:///model-sizing.db", repr=False)
    """SQLAlchemy URL of the catalog: sqlite:///file or postgresql+psycopg://user:secret@host/db."""
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[ApiKey, ...] = ()
    """`role:secret` pairs, comma between; roles: read, write, admin. Two of a role to rotate."""
    reads: str = "open"
    """`open`, or `closed`: then everything but /livez, /readyz and /metrics needs a key."""
    writes: str = "keys"
    """`keys`: with a key (open on loopback when none is set). `closed`: nobody writes."""
    max_body_bytes: int = 16 * 2**20
    max_concurrency: int = 256
    """Requests in progress at once, bulk ones in half of them; more get a 503 with Retry-After."""
    snapshot_seconds: float = 0.5
    """How often a change of the catalog by another process is looked for."""
    shutdown_seconds: int = 20
    """How long requests in progress may go on after SIGTERM."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call the service, comma between; none by default."""
    log_level: str = "info"

    @property
    def loopback(self) -> bool:
        """Whether the service listens only to its own machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def checked(self) -> Settings:
        """The settings themselves, or a SettingsError where starting with them is unsafe."""
        if self.loopback or (self.writes == "closed" and self.reads == "open"):
            return self
        if not self.api_keys:
            raise SettingsError(
                f"{PREFIX}HOST is {self.host}, which others can reach, and {PREFIX}API_KEYS is "
                f"empty: set it to role:secret pairs, or set {PREFIX}WRITES=closed with reads open"
            )
        if any(key.weak for key in self.api_keys):
            raise SettingsError(
                f"{PREFIX}API_KEYS holds a secret that is a placeholder, or has fewer than "
                f"{_SHORTEST_SECRET} characters or {_FEWEST} different ones: choose a random one"
            )
        return self


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings out of the environment. Raises SettingsError for a value that cannot be read."""
    values: dict[str, Any] = {}
    for entry in fields(Settings):
        text = environment.get(PREFIX + entry.name.upper())
        if text is not None and text.strip():
            values[entry.name] = _read(entry.name, str(entry.type), text.strip())
    return Settings(**values)


def variables() -> tuple[tuple[str, str], ...]:
    """(variable, default) of every setting, for `--help` and the documentation."""
    return tuple((PREFIX + entry.name.upper(), _shown(entry.default)) for entry in fields(Settings))


def _shown(default: Any) -> str:
    return "" if default == () else str(default)


_CHOICES = {
    "reads": ("open", "closed"),
    "writes": ("keys", "closed"),
    "log_level": ("debug", "info", "warning", "error"),
}
_BOUNDS = {
    "port": (0, 65_535),
    "max_body_bytes": (1_024, 2**30),
    "max_concurrency": (1, 100_000),
    "snapshot_seconds": (0.01, 3_600.0),
    "shutdown_seconds": (0, 3_600),
}


def _read(name: str, kind: str, text: str) -> Any:
    if name == "api_keys":
        return tuple(_key(pair) for pair in text.split(",") if pair.strip())
    if kind.startswith("tuple"):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if name in _CHOICES and text not in _CHOICES[name]:
        raise SettingsError(f"{PREFIX}{name.upper()} must be one of {', '.join(_CHOICES[name])}")
    return _number(name, kind, text) if name in _BOUNDS else text


def _number(name: str, kind: str, text: str) -> int | float:
    low, high = _BOUNDS[name]
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        raise SettingsError(f"{PREFIX}{name.upper()} must be a number") from None
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name.upper()} must lie between {low} and {high}")
    return value


def _key(pair: str) -> ApiKey:
    role, separator, secret = pair.strip().partition(":")
    if not separator or role not in ROLES:
        raise SettingsError(
            f"{PREFIX}API_KEYS must be role:secret pairs with a comma between; "
            f"roles are {', '.join(ROLES)}"
        )
    if not secret:
        raise SettingsError(f"{PREFIX}API_KEYS holds a pair without a secret")
    weak = len(secret) < _SHORTEST_SECRET or len(set(secret)) < _FEWEST or secret.lower() in _WEAK
    return ApiKey(role, digest(secret), weak)


def digest(secret: str) -> bytes:
    """The SHA-256 of a secret: all that is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
