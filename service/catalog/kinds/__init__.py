"""The kinds of facts: one typed payload each, one mechanism for all."""

from __future__ import annotations

from collections.abc import Mapping

from service.catalog.errors import UnknownKind
from service.catalog.facts import Payload
from service.catalog.kinds.accelerator import AcceleratorFacts
from service.catalog.kinds.claim import ClaimFacts
from service.catalog.kinds.model import ModelFacts
from service.catalog.kinds.price import PriceFacts
from service.catalog.kinds.region import RegionFacts
from service.catalog.kinds.report import ReportFacts
from service.catalog.kinds.run import RunFacts

__all__ = [
    "KINDS",
    "AcceleratorFacts",
    "ClaimFacts",
    "ModelFacts",
    "PriceFacts",
    "RegionFacts",
    "ReportFacts",
    "RunFacts",
    "payload_type",
]

KINDS: Mapping[str, type[Payload]] = {
    "models": ModelFacts,
    "accelerators": AcceleratorFacts,
    "regions": RegionFacts,
    "prices": PriceFacts,
    "claims": ClaimFacts,
    "reports": ReportFacts,
    "runs": RunFacts,
}


def payload_type(kind: str) -> type[Payload]:
    """The payload of a kind. Raises UnknownKind."""
    try:
        return KINDS[kind]
    except KeyError:
        raise UnknownKind(kind) from None
