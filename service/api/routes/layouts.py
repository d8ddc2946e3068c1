"""The parallel layouts that nothing else beats."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import laying_out
from service.api.layout_models import LayoutsRequest, LayoutsResponse
from service.api.state import snapshot

router = APIRouter(tags=["estimates"])


@router.post("/layouts", name="find_layouts", summary="The best parallel layouts under caps")
def post_layouts(request: Request, body: LayoutsRequest) -> LayoutsResponse:
    """The Pareto set in time, money, carbon and devices, under a deadline and other caps.

    Runs in a thread of its own, so that estimates go on beside it.
    """
    return laying_out.answer(body, snapshot(request))
