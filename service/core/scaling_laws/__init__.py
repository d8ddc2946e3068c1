"""Compute-optimal size, from any budget, under the field's scaling laws side by side.

Everything takes plain floats or numpy arrays (a column of budgets) unless it says otherwise, and
`law` is a name, an alias or a `Law`. Parameters are totals, losses nats a token, compute C = 6 N D.

The optimum: `optimum(flops, law) -> Optimum(parameters, tokens, loss, flops, ...)` with intervals;
`law_answer` for one law's central answer; `spread` for the disagreement between laws.
The verdict: `verdict(parameters, tokens, law) -> Sizing`, and `opinions` of every law.
Budgets: `solve(Budget(kind, value, spend), law) -> Solution`, `solve_all`, `flops_of`; a spend is
made of `device_hours(rate)`, `per_device_hour(rate, amount)` (money, carbon) or
`wall_clock_hours(rate, devices)`. Backwards: `largest_parameters`.
Returns: `basin`, `size_overhead`, `marginal`, `next_step`, `isoflop_curve`, `frontier`,
`perplexity`.
Further: `repeated` (epochs and scarce data), `lifetime` (training and serving), `mixtures`,
`precision`, `hyperparameters`, `embeddings`, and `fit` (a law from the caller's own runs).
Warnings are codes; `WARNINGS` has their sentences.
"""

from service.core.scaling_laws.budgets import (
    Budget,
    BudgetError,
    Solution,
    device_hours,
    flops_for_spend,
    flops_of,
    largest_parameters,
    per_device_hour,
    solve,
    solve_all,
    wall_clock_hours,
)
from service.core.scaling_laws.forms import INFINITE, Additive
from service.core.scaling_laws.law import WARNINGS, Law, LawError
from service.core.scaling_laws.laws import ALIASES, DEFAULT_LAW, LAWS, custom_law, find_law
from service.core.scaling_laws.optimum import (
    LawAnswer,
    Optimum,
    law_answer,
    optimum,
    spread,
    training_flops,
)
from service.core.scaling_laws.returns import (
    basin,
    frontier,
    isoflop_curve,
    marginal,
    next_step,
    perplexity,
    size_overhead,
)
from service.core.scaling_laws.sizing import Opinion, Sizing, opinions, verdict

__all__ = [
    "ALIASES",
    "DEFAULT_LAW",
    "INFINITE",
    "LAWS",
    "WARNINGS",
    "Additive",
    "Budget",
    "BudgetError",
    "Law",
    "LawAnswer",
    "LawError",
    "Opinion",
    "Optimum",
    "Sizing",
    "Solution",
    "basin",
    "custom_law",
    "device_hours",
    "find_law",
    "flops_for_spend",
    "flops_of",
    "frontier",
    "isoflop_curve",
    "largest_parameters",
    "law_answer",
    "marginal",
    "next_step",
    "opinions",
    "optimum",
    "per_device_hour",
    "perplexity",
    "size_overhead",
    "solve",
    "solve_all",
    "spread",
    "training_flops",
    "verdict",
    "wall_clock_hours",
]
