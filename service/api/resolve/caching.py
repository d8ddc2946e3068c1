"""A snapshot of the catalog as a cache key."""

from __future__ import annotations

from service.catalog.snapshot import Snapshot


class Catalog:
    """A snapshot that hashes by what it holds: equal ids, equal catalogs."""

    __slots__ = ("snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.snapshot.id == other.snapshot.id

    def __hash__(self) -> int:
        return hash(self.snapshot.id)
