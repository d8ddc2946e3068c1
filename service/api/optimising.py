"""/compute-optimal: from one budget to the best size, under one law and beside all others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from service.api import optimising_budgets, optimising_options, optimising_sections
from service.api.compute_optimal_models import (
    ColumnsSection,
    ComputeOptimalResponse,
    LargestSection,
)
from service.api.compute_optimal_requests import ComputeOptimalRequest, OwnLaw
from service.api.optimising_budgets import Runs
from service.api.problems import ProblemError, at
from service.api.provenance import provenance
from service.api.resolve.ledger import Ledger
from service.catalog.snapshot import Snapshot
from service.core import scaling_laws as laws
from service.core.uncertainty import Interval

NEXT_NATS = 0.01
MOST_SPENT = 10_000
"""Values that are solved for, some sixty steps each; other budgets have a closed form."""
_SIZES = (1.0, 1e21)
_LOSS = (1e-9, 100.0)
"""Parameters or tokens, and reducible loss, that the optimum of a caller's constants may have."""


def answer(request: ComputeOptimalRequest, snapshot: Snapshot) -> ComputeOptimalResponse:
    """The best size for a budget. Raises ProblemError."""
    ledger = Ledger()
    law = _law(request, ledger)
    budget, runs = optimising_budgets.resolve(request, snapshot, ledger)
    try:
        solution = laws.solve(budget, law)
        others = laws.solve_all(budget)
        largest = _largest(request, budget, solution, law)
        columns = _columns(request, budget, law)
    except laws.BudgetError as error:
        raise at("invalid-request", "/budget", str(error)) from None
    except laws.LawError as error:
        raise at("invalid-request", "/law", str(error)) from None
    except OverflowError:
        raise _senseless() from None
    best = solution.optimum
    if isinstance(request.law, OwnLaw):
        _check_sane(best, law)
    _warn(best, solution, ledger)
    optimum = optimising_sections.optimum(solution, law, _spread(budget, best, runs))
    return ComputeOptimalResponse(
        optimum=optimum,
        laws=[optimising_sections.law_section(found) for found in others],
        spread=optimising_sections.spread(optimum, others),
        run=None if runs is None else optimising_sections.run(best, runs, ledger),
        largest=largest,
        columns=columns,
        frontier=optimising_sections.frontier(float(best.flops), law),
        hyperparameters=optimising_sections.hyperparameters(float(best.flops)),
        **_returns(float(best.flops), law, runs),
        **_lifetime(request, best, law, runs, ledger),
        **optimising_options.sections(request, best, law, ledger),
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot),
    )


def _spread(budget: laws.Budget, best: laws.Optimum, runs: Runs | None) -> Interval | None:
    """How far the devices may spend more or less of the budget's unit, as a ratio."""
    if runs is None or budget.spend is None:
        return None
    size = float(best.parameters.value)
    speed = runs.speed
    return speed.kgco2e_spread(size) if budget.kind == "kgco2e" else speed.hours_spread(size)


def _law(request: ComputeOptimalRequest, ledger: Ledger) -> laws.Law:
    if isinstance(request.law, OwnLaw):
        return laws.custom_law(**request.law.model_dump())
    name = ledger.choose(
        "/law", request.law, laws.DEFAULT_LAW, "the corrected fit of the Chinchilla runs"
    )
    try:
        return laws.find_law(name)
    except laws.LawError as error:
        raise at("invalid-request", "/law", str(error)) from None


def _check_sane(best: laws.Optimum, law: laws.Law) -> None:
    """Constants of a caller's own can mean anything; numbers end where floats do."""
    assert best.loss is not None
    low, high = _SIZES
    sizes = (best.parameters.value, best.tokens.value)
    reducible = best.loss.value - law.additive.irreducible
    if not (all(low <= size <= high for size in sizes) and _LOSS[0] <= reducible <= _LOSS[1]):
        raise _senseless()


def _senseless() -> ProblemError:
    detail = "these constants leave no optimum of 1 to 1e21 parameters or tokens for the budget"
    return at("invalid-request", "/law", detail)


def _warn(best: laws.Optimum, solution: laws.Solution, ledger: Ledger) -> None:
    codes = [*best.warnings, *(["relative_only"] if best.loss is not None else [])]
    for code in codes:
        ledger.warn(code.replace("_", "-"), laws.WARNINGS[code])
    if solution.limited_by == "capacity":
        message = "no larger model fits the devices at these settings: budget is left over"
        ledger.warn("limited-by-capacity", message)


def _largest(
    request: ComputeOptimalRequest, budget: laws.Budget, solution: laws.Solution, law: laws.Law
) -> LargestSection | None:
    """In the budget's own unit, or in FLOPs where that has a closed form."""
    if request.largest is None:
        return None
    spend = budget.spend or laws.training_flops
    value = float(budget.value if budget.spend else solution.optimum.flops)
    return optimising_options.largest(request.largest, value, spend, law)


def _columns(
    request: ComputeOptimalRequest, budget: laws.Budget, law: laws.Law
) -> ColumnsSection | None:
    """The optimum of many budgets at once. Raises BudgetError."""
    if request.values is None:
        return None
    if budget.spend is not None and len(request.values) > MOST_SPENT:
        detail = f"at most {MOST_SPENT} values of a budget that devices spend are solved at once"
        raise at("too-much-work", "/values", detail)
    with np.errstate(all="ignore"):
        flops = laws.flops_of(replace(budget, value=np.array(request.values)), law)
        best = laws.optimum(flops, law)
    found = [flops, *best.parameters, best.tokens.value]
    if not np.all(np.isfinite(found)):
        raise laws.BudgetError("some of the values have no finite optimum")
    flops, sizes, low, high, tokens = (column.tolist() for column in found)
    return ColumnsSection(
        values=request.values,
        flops=flops,
        parameters=sizes,
        parameters_low=low,
        parameters_high=high,
        tokens=tokens,
        loss=None if best.loss is None else best.loss.value.tolist(),
    )


def _returns(flops: float, law: laws.Law, runs: Runs | None) -> dict[str, Any]:
    """Basin, gains and the iso-FLOP curve; only laws with a loss of any N and D have them."""
    if not isinstance(law.form, laws.Additive):
        return {"basin": [], "marginal": None, "next_step": None, "curve": None}
    return {
        "basin": optimising_sections.basin(flops, law),
        "marginal": optimising_sections.marginal(flops, law),
        "next_step": optimising_sections.next_step(flops, law, runs, NEXT_NATS),
        "curve": optimising_sections.curve(flops, law),
    }


def _lifetime(
    request: ComputeOptimalRequest,
    best: laws.Optimum,
    law: laws.Law,
    runs: Runs | None,
    ledger: Ledger,
) -> dict[str, Any]:
    """Training and serving together, in FLOPs and in money."""
    tokens, loss = request.inference_tokens, best.loss
    if tokens is None:
        return {"lifetime": None, "lifetime_cost": None}
    if loss is None or not isinstance(law.form, laws.Additive):
        ledger.warn("lifetime-unknown", f"{law.name} gives no loss, so no size for its lifetime")
        return {"lifetime": None, "lifetime_cost": None}
    own = float(loss.value)
    return {
        "lifetime": optimising_options.lifetime(own, tokens, law),
        "lifetime_cost": None
        if runs is None
        else optimising_options.lifetime_cost(own, tokens, law, runs, ledger),
    }
