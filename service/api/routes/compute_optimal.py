"""The best size for a budget."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import optimising
from service.api.compute_optimal_models import ComputeOptimalResponse
from service.api.compute_optimal_requests import ComputeOptimalRequest
from service.api.state import snapshot

router = APIRouter(tags=["estimates"])


@router.post("/compute-optimal", name="compute_optimal", summary="The best size for a budget")
def post_compute_optimal(request: Request, body: ComputeOptimalRequest) -> ComputeOptimalResponse:
    """The best model size and number of tokens for one budget, and what every law says of it.

    Runs in a thread of its own: the first answer for an accelerator searches layouts.
    """
    return optimising.answer(body, snapshot(request))
