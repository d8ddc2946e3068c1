"""Answers that were given before: the same question to the same catalog is not worked out twice.

An answer depends on the request, the catalog and the program alone, so that a platform which asks
again (a retry, a queue that is walked through) gets the same bytes for the price of a look-up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from pydantic_core import PydanticSerializationError

from service.api.nesting import short
from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse

KEPT = 1_024
LARGEST = 65_536
"""Characters of a request that is still remembered."""


class Answer(NamedTuple):
    """An answer as JSON, which is written once.

    A remembered one is no more than that: the hundreds of objects of each model would have to be
    looked through whenever Python looks for garbage.
    """

    json: bytes
    admission: str
    """Of the verdict; `none` without one."""
    fresh: EstimateResponse | None = None

    @property
    def model(self) -> EstimateResponse:
        """The answer itself."""
        return self.fresh or EstimateResponse.model_validate_json(self.json)


class Answers:
    """The last answers of one state of the catalog. Threads may share it."""

    def __init__(self) -> None:
        self._catalog = ""
        self._found: OrderedDict[str, Answer] = OrderedDict()
        self._lock = Lock()

    def answer(
        self, request: EstimateRequest, catalog: str, work: Callable[[], EstimateResponse]
    ) -> Answer:
        """The remembered answer, or `work`'s. What `work` raises is not remembered."""
        key = _key(request)
        found = self._remembered(key, catalog)
        if found is None:
            model = work()
            admission = model.verdict.admission if model.verdict else "none"
            found = Answer(model.model_dump_json().encode(), admission)
            self._keep(key, catalog, found)
            return found._replace(fresh=model)
        return found

    def _remembered(self, key: str, catalog: str) -> Answer | None:
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

    def _keep(self, key: str, catalog: str, found: Answer) -> None:
        if not key:
            return
        with self._lock:
            if catalog == self._catalog:  # else another thread has seen a newer catalog
                self._found[key] = found
                if len(self._found) > KEPT:
                    self._found.popitem(last=False)


class Searched:
    """Requests whose layout was searched for before, so that it is at hand when asked again.

    A hint for where to work, not for what to answer: what the layout does not depend on is left
    out, and a request is known by its hash alone.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[int, None] = OrderedDict()

    def before(self, request: EstimateRequest) -> bool:
        """Whether such a request was seen; from now on it was."""
        asked = hash(_key(request, {"model", "workload", "hardware"}, {"workload": {"tokens"}}))
        seen = asked in self._seen
        self._seen[asked] = None
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return seen


def _key(
    request: EstimateRequest,
    include: set[str] | None = None,
    exclude: dict[str, set[str]] | None = None,
) -> str:
    """What makes two requests the same; empty for one that is not to be remembered."""
    draft = getattr(request.workload, "draft", None)
    if not (short(vars(request.model)) and (draft is None or short(vars(draft)))):
        return ""
    try:
        text = request.model_dump_json(include=include, exclude=exclude, exclude_unset=True)
    except PydanticSerializationError:  # a config may hold text that is no Unicode
        return ""
    return text if len(text) <= LARGEST else ""
