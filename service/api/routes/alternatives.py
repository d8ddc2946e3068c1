"""Whether a smaller model would do."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import comparing
from service.api.alternative_models import AlternativesRequest, AlternativesResponse
from service.api.state import snapshot

router = APIRouter(tags=["estimates"])


@router.post("/alternatives", name="find_alternatives", summary="Should this be a smaller model?")
def post_alternatives(request: Request, body: AlternativesRequest) -> AlternativesResponse:
    """The same model in fewer bits, smaller ones, adapters and a cascade, for the same traffic.

    Each has its fleet, its month in money and carbon, and for quality what others have measured:
    never a score. Runs in a thread of its own.
    """
    return comparing.answer(body, snapshot(request))
