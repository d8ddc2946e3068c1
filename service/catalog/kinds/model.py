"""Reference models: each an architecture, with the parameter count that its source states."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.catalog.facts import PartialDate, Payload, Slug, Text

LARGEST_ARCHITECTURE = 512_000
"""Characters of an architecture's JSON."""


class HuggingFaceArchitecture(Payload):
    """A config.json as it is."""

    kind: Literal["huggingface"]
    config: dict[str, Any]

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not isinstance(self.config.get("model_type"), str):
            raise ValueError("config.model_type is missing; it names the architecture")
        return self


class LayersArchitecture(Payload):
    """A hand-written list of layers."""

    kind: Literal["layers"]
    layers: list[Any] = Field(min_length=1)


class ExpectedParameters(Payload):
    """What the source says that the architecture counts to."""

    total: Annotated[int, Field(ge=1, le=10**15)]
    active: Annotated[float, Field(ge=1, le=1e15)] | None = None
    tolerance: Annotated[float, Field(ge=0, le=0.05)] = 0.0
    """Relative; 0 where the count is exact."""
    source: Text


class ModelFacts(Payload):
    """One model."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    family: Annotated[str, Field(min_length=1, max_length=60)]
    modality: Literal["text", "vision", "audio", "multimodal", "other"]
    aliases: tuple[Slug, ...] = ()
    released: PartialDate | None = None
    architecture: Annotated[
        HuggingFaceArchitecture | LayersArchitecture, Field(discriminator="kind")
    ]
    expected_parameters: ExpectedParameters | None = None
    training_tokens: Annotated[float, Field(ge=1, le=1e18)] | None = None
    """Tokens that the published training saw."""

    @model_validator(mode="after")
    def _small(self) -> Self:
        if len(json.dumps(self.architecture.model_dump(mode="json"))) > LARGEST_ARCHITECTURE:
            raise ValueError(f"architecture is above {LARGEST_ARCHITECTURE} characters of JSON")
        return self
