"""Runs as callers post and read them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.api.catalog_documents import NameInPath, PageQuery, StampedProvenance
from service.api.request_bodies import RequestBody
from service.api.requests import EstimateRequest
from service.catalog.facts import Provenance, Slug
from service.catalog.kinds import RunFacts
from service.catalog.kinds.run import Observed

POSTED = Provenance(source="posted to this service", licence="not stated")


class RunContent(RequestBody):
    """What a run was estimated with, and what was observed."""

    cluster: Slug = Field(description="Estimates that name it are corrected by this run.")
    request: EstimateRequest = Field(description="As it would be sent to /estimate.")
    observed: Observed
    published: bool = Field(False, strict=True)
    provenance: StampedProvenance | None = Field(
        None, description="Default: posted to this service."
    )

    def document(self) -> dict[str, Any]:
        """The fact's document. What the request leaves out stays out."""
        content = self.model_dump(mode="json", exclude_unset=True, exclude={"provenance", "id"})
        provenance = self.provenance or POSTED
        return content | {"provenance": provenance.model_dump(mode="json", exclude_none=True)}


class RunSubmission(RunContent):
    """A finished job, under an id of the caller's choice: posted again, it changes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "job-1",
                    "cluster": "blue",
                    "request": {
                        "model": {"kind": "catalog", "name": "llama-3.1-8b"},
                        "workload": {"kind": "pretraining", "tokens": 1e9},
                        "hardware": {"accelerator": "h100-sxm", "count": 64},
                    },
                    "observed": {"step_seconds": 9.7, "peak_bytes": 6.1e10},
                }
            ]
        }
    )

    id: Slug = Field(description="Unique among all runs.")


class RunUpdate(RunContent):
    """Another version of a run; what was read may be sent back changed."""

    name: NameInPath = None

    def document(self) -> dict[str, Any]:
        """The fact's document."""
        return {key: value for key, value in super().document().items() if value is not None}


class RunDocument(RunFacts):
    """A recorded run."""

    name: NameInPath = None
    provenance: StampedProvenance


class RunQuery(PageQuery):
    """Which runs."""

    cluster: Annotated[str, Field(max_length=200)] | None = None
    published: bool | None = None


class RunPage(BaseModel):
    """Some runs in the order of their ids."""

    items: list[RunDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last.")
