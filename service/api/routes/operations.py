"""Probes and metrics: for machines that run the service, and in no contract."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.problems import KINDS, ProblemError
from service.api.state import metrics, store
from service.catalog.errors import StoreUnavailable

router = APIRouter(include_in_schema=False)
_one_at_a_time = threading.Lock()


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Alive: the process answers. Touches nothing else."""
    return {"status": "alive"}


@router.get("/readyz")
def readyz(request: Request) -> dict[str, Any]:
    """Ready: the database answers, is at this program's migration, and the catalog was read."""
    here = store(request)
    with _one_at_a_time:
        try:
            here.check()
            found = here.snapshot
        except StoreUnavailable as error:
            retry = {"Retry-After": "1"}
            raise ProblemError("catalog-unavailable", str(error), headers=retry) from None
    return {
        "status": "ready",
        "catalog": found.id,
        "snapshot_age_seconds": round(here.health.age_seconds, 3),
    }


@router.get("/metrics")
async def prometheus(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(metrics(request).text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems/{kind}")
async def problem_kind(kind: str) -> dict[str, Any]:
    """What the `type` of a problem stands for."""
    if kind not in KINDS:
        raise ProblemError("not-found", "There is no such kind of problem.")
    found = KINDS[kind]
    return {"type": f"/problems/{kind}", "title": found.title, "status": found.status}
