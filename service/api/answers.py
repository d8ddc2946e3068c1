"""Answers that were given before: the same question to the same catalog is not worked out twice.

An answer depends on the request, the catalog and the program alone, so that a platform which asks
again (a retry, a queue that is walked through) gets the same bytes for the price of a look-up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from pydantic_core import PydanticSerializationError

from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse

KEPT = 1_024
LARGEST = 65_536
"""Characters of a request that is still remembered."""


class Answers:
    """The last answers of one state of the catalog. Threads may share it."""

    def __init__(self) -> None:
        self._catalog = ""
        self._found: OrderedDict[str, EstimateResponse] = OrderedDict()
        self._lock = Lock()

    def answer(
        self, request: EstimateRequest, catalog: str, work: Callable[[], EstimateResponse]
    ) -> EstimateResponse:
        """The remembered answer, or `work`'s. What `work` raises is not remembered."""
        key = _key(request)
        found = self._remembered(key, catalog)
        if found is None:
            found = work()
            self._keep(key, catalog, found)
        return found

    def holds(self, request: EstimateRequest, catalog: str) -> bool:
        """Whether the answer is remembered."""
        return self._remembered(_key(request), catalog) is not None

    def _remembered(self, key: str, catalog: str) -> EstimateResponse | None:
        if not key:
            return None
        with self._lock:
            if catalog != self._catalog:
                self._found.clear()
                self._catalog = catalog
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def _keep(self, key: str, catalog: str, found: EstimateResponse) -> None:
        if not key:
            return
        with self._lock:
            if catalog == self._catalog:  # else another thread has seen a newer catalog
                self._found[key] = found
                if len(self._found) > KEPT:
                    self._found.popitem(last=False)


def _key(request: EstimateRequest) -> str:
    """What makes two requests the same; empty for one that is not to be remembered."""
    try:
        text = request.model_dump_json(exclude_unset=True)
    except PydanticSerializationError:  # a config may hold text that is no Unicode
        return ""
    return text if len(text) <= LARGEST else ""
