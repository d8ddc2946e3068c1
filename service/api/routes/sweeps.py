"""Every combination of some fields at once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from service.api import sweeping
from service.api.state import snapshot
from service.api.sweep_models import SweepRequest, SweepResponse

router = APIRouter(tags=["estimates"])
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.post(
    "/sweep",
    name="sweep",
    summary="Every combination of some fields",
    response_model=SweepResponse,
    responses=_CSV,
)
def post_sweep(request: Request, body: SweepRequest) -> SweepResponse | Response:
    """Columns in, columns out: JSON, or CSV where the request accepts `text/csv`.

    Runs in a thread of its own, so that estimates go on beside it.
    """
    found = sweeping.answer(body, snapshot(request))
    if "text/csv" in request.headers.get("accept", ""):
        return Response(sweeping.as_csv(found), media_type="text/csv")
    return found
