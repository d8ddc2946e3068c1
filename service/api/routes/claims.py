"""A caller's own claim, checked."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import claims
from service.api.catalog_documents import ClaimCheckRequest, ClaimCheckResponse
from service.api.problems import at
from service.api.provenance import provenance
from service.api.resolve import places
from service.api.resolve.ledger import Ledger
from service.api.state import snapshot
from service.catalog.errors import UnknownName

router = APIRouter(tags=["estimates"])
_ABOUT = {"model", "tokens", "accelerator", "devices", "relative_to", "at_least", "region"}


@router.post("/claims/check", name="check_claim", summary="Is a published claim plausible?")
async def post_claim(request: Request, body: ClaimCheckRequest) -> ClaimCheckResponse:
    """Each claimed quantity beside our estimate: consistent, off by what factor, unverifiable."""
    quantities = body.model_dump(exclude_none=True)
    if not quantities.keys() - _ABOUT:
        raise at("invalid-request", "", "the claim states no quantity; give one, as device_hours")
    found = snapshot(request)
    if body.accelerator is not None:
        places.accelerator(found, body.accelerator, Ledger(), "/accelerator")
    if body.region is not None:
        try:
            found.get("regions", body.region)
        except UnknownName as error:
            raise places.unknown("unknown-region", "/region", error) from None
    verdict, checks = claims.check(quantities, found)
    return ClaimCheckResponse(verdict=verdict, checks=checks, provenance=provenance(found))
