"""The base of whole request bodies."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from service.api.bounded import ApiModel
from service.api.problems import ProblemError

MOST_FINDINGS = 5_000


class RequestBody(ApiModel):
    """A body that is refused as a whole where thousands of its fields are wrong.

    To count what is wrong costs little; a sentence about each costs seconds and a gigabyte.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _countable(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            if error.error_count() <= MOST_FINDINGS:
                raise
            detail = f"{error.error_count()} fields of the body are wrong or not known."
        raise ProblemError("too-many-values", detail)
