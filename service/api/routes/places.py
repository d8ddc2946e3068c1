"""Where a job is cheapest, cleanest and fastest."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import placing
from service.api.place_models import PlacesRequest, PlacesResponse
from service.api.state import snapshot

router = APIRouter(tags=["estimates"])


@router.post("/places", name="rank_places", summary="The best places, providers and devices")
def post_places(request: Request, body: PlacesRequest) -> PlacesResponse:
    """Every place that the job can be rented in, by money, carbon and hours together.

    No place is answered for by another unseen: stale and stand-in figures are marked, and what
    has no price is listed as left out. Runs in a thread of its own.
    """
    return placing.answer(body, snapshot(request))
