"""The scaling laws themselves, and a law fitted to a caller's own runs."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import ConfigDict, Field

from service.api.bounded import ApiModel, Real
from service.api.mapping import predicted
from service.api.problems import at
from service.api.request_bodies import RequestBody
from service.api.responses import Predicted
from service.core.scaling_laws.fit import FEWEST_RUNS, FitError, fit_law
from service.core.scaling_laws.forms import (
    Additive,
    KaplanFrontier,
    PowerFrontier,
    TabulatedFrontier,
)
from service.core.scaling_laws.law import WARNINGS, Law
from service.core.scaling_laws.laws import LAWS

router = APIRouter(prefix="/scaling-laws", tags=["estimates"])
MOST_RUNS = 2_000
_COUNT = Annotated[Real, Field(ge=1, le=1e21)]


class FittedSection(ApiModel):
    """Where the law was fitted, lowest and highest; null where the source does not say."""

    flops: tuple[float, float] | None
    parameters: tuple[float, float] | None
    tokens_per_parameter: tuple[float, float] | None


class PublishedLaw(ApiModel):
    """One law as it was published."""

    law: str
    source: str
    data: str = Field(description="What it was fitted on.")
    counts: str = Field(description="What its N counts.")
    standing: str
    checked: str = Field(description="How the constants were read.")
    form: str
    constants: dict[str, float | list[float]]
    fitted: FittedSection
    comparable: bool = Field(description="Total parameters, C = 6 N D, a dense model.")
    warnings: dict[str, str] = Field(description="That hold whatever is asked.")
    listed: bool = Field(description="Answered side by side; otherwise only by name.")


class LawsResponse(ApiModel):
    """Every law that is known."""

    items: list[PublishedLaw]


class TrainingRun(ApiModel):
    """One finished training."""

    parameters: _COUNT
    tokens: _COUNT
    loss: Annotated[Real, Field(ge=0.01, le=100, description="Final loss in nats a token.")]


class FitRequest(RequestBody):
    """Runs of one family on one kind of data."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "runs": [
                        {"parameters": n, "tokens": d, "loss": round(loss, 4)}
                        for n in (1e8, 4e8, 1.6e9)
                        for d in (2e9, 1e10, 5e10)
                        for loss in [1.8172 + 482.01 / n**0.3478 + 2085.43 / d**0.3658]
                    ]
                }
            ]
        }
    )

    runs: list[TrainingRun] = Field(min_length=FEWEST_RUNS, max_length=MOST_RUNS)


class FitResponse(ApiModel):
    """`L = E + A / N^alpha + B / D^beta`, each constant with its 90 % bootstrap interval."""

    irreducible: Predicted = Field(description="E, nats a token.")
    parameter_coefficient: Predicted = Field(description="A.")
    token_coefficient: Predicted = Field(description="B.")
    parameter_exponent: Predicted = Field(description="alpha.")
    token_exponent: Predicted = Field(description="beta.")
    growth: Predicted = Field(description="Exponent of the optimal size in compute.")
    runs: int
    refits: int
    spread: float = Field(description="Standard deviation of the residuals of log loss.")
    warnings: list[str]


@router.get("", name="scaling_laws", summary="The scaling laws that are known")
async def get_laws() -> LawsResponse:
    """Each law with its source and what its size counts."""
    return LawsResponse(items=[_section(law) for law in LAWS.values()])


def _section(law: Law) -> PublishedLaw:
    return PublishedLaw(
        law=law.name,
        source=law.source,
        data=law.data,
        counts=law.parameters_definition,
        standing=law.standing,
        checked=law.checked,
        form=_FORMS[type(law.form)],
        constants=_constants(law.form),
        fitted=FittedSection(**dataclasses.asdict(law.fitted)),
        comparable=law.comparable,
        warnings={code: WARNINGS[code] for code in law.notes},
        listed=law.listed,
    )


_FORMS: dict[type, str] = {
    Additive: "L = E + A / N^alpha + B / D^beta",
    PowerFrontier: "N = n C^a, D = d C^b",
    KaplanFrontier: "N = n C^a, L = (C_c / C)^a_C",
    TabulatedFrontier: "a table of C and N, joined by power laws",
}


def _constants(form: Any) -> dict[str, float | list[float]]:
    """The constants of a form by name, those of a part of it among them."""
    found: dict[str, float | list[float]] = {}
    for name, value in dataclasses.asdict(form).items():
        if isinstance(value, dict):
            found |= {f"{name}_{inner}": constant for inner, constant in value.items()}
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


@router.post("/fit", name="fit_scaling_law", summary="Fit a law to runs of your own")
def post_fit(body: FitRequest) -> FitResponse:
    """Huber regression on log loss as in Hoffmann 2022, bootstrap intervals; the same every time.

    Runs in a thread of its own.
    """
    table = np.array([(run.parameters, run.tokens, run.loss) for run in body.runs])
    try:
        found = fit_law(table[:, 0], table[:, 1], table[:, 2])
    except FitError as error:
        raise at("invalid-request", "/runs", str(error)) from None
    return FitResponse(
        irreducible=predicted(found.irreducible),
        parameter_coefficient=predicted(found.parameter_coefficient),
        token_coefficient=predicted(found.token_coefficient),
        parameter_exponent=predicted(found.parameter_exponent),
        token_exponent=predicted(found.token_exponent),
        growth=predicted(found.growth),
        runs=found.runs,
        refits=found.refits,
        spread=found.spread,
        warnings=list(found.warnings),
    )
