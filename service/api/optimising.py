"""/compute-optimal: from one budget to the best size, under one law and beside all others."""

from __future__ import annotations

from typing import Any

from service.api.compute_optimal_models import (
    BasinSection,
    CarbonBudget,
    ComputeOptimalRequest,
    ComputeOptimalResponse,
    CurveSection,
    DeadlineBudget,
    DeviceHoursBudget,
    FlopsBudget,
    LawAnswerSection,
    LifetimeSection,
    LossBudget,
    MarginalSection,
    OptimumSection,
    ParametersBudget,
    RepeatedSection,
    TokensBudget,
    UsdBudget,
)
from service.api.mapping import finite, maybe, predicted
from service.api.problems import at
from service.api.provenance import provenance
from service.api.resolve import places, prices
from service.api.resolve.ledger import Ledger
from service.catalog.snapshot import Snapshot
from service.core import energy
from service.core import scaling_laws as laws
from service.core.carbon import embodied_kgco2e
from service.core.hardware import Accelerator
from service.core.scaling_laws.lifetime import lifetime_flops
from service.core.scaling_laws.repeated import REPEATED_LAW, repeated_optimum
from service.core.spending import SERVER_SHARE_KGCO2E
from service.core.uncertainty import Interval

FORMAT = "bf16"
OnDevices = DeviceHoursBudget | UsdBudget | CarbonBudget | DeadlineBudget


def answer(request: ComputeOptimalRequest, snapshot: Snapshot) -> ComputeOptimalResponse:
    """The best size for a budget. Raises ProblemError."""
    ledger = Ledger()
    law = _law(request, ledger)
    budget = _budget(request, snapshot, ledger)
    try:
        solution = laws.solve(budget, law)
        others = laws.solve_all(budget)
    except laws.BudgetError as error:
        raise at("invalid-request", "/budget", str(error)) from None
    except laws.LawError as error:
        raise at("invalid-request", "/law", str(error)) from None
    best = solution.optimum
    for code in best.warnings:
        ledger.warn(code.replace("_", "-"), laws.WARNINGS[code])
    return ComputeOptimalResponse(
        optimum=_optimum(solution),
        laws=[_law_section(found) for found in others],
        **_returns(best.flops, law),
        lifetime=_lifetime(request, best, law, ledger),
        repeated=_repeated(request, best.flops, ledger),
        assumptions=ledger.assumptions,
        warnings=ledger.warnings,
        provenance=provenance(snapshot),
    )


def _law(request: ComputeOptimalRequest, ledger: Ledger) -> laws.Law:
    name = ledger.choose(
        "/law", request.law, laws.DEFAULT_LAW, "the corrected fit of the Chinchilla runs"
    )
    try:
        return laws.find_law(name)
    except laws.LawError as error:
        raise at("invalid-request", "/law", str(error)) from None


def _budget(request: ComputeOptimalRequest, snapshot: Snapshot, ledger: Ledger) -> laws.Budget:
    given = request.budget
    if isinstance(given, FlopsBudget | LossBudget | ParametersBudget | TokensBudget):
        return laws.Budget(given.kind, given.value)
    accelerator = places.accelerator(snapshot, given.accelerator, ledger, "/budget/accelerator")
    utilization = _utilization(given, ledger)
    achieved = accelerator.peak_for(FORMAT) * utilization.value

    def rate(parameters: Any, tokens: Any) -> Any:
        return achieved + 0.0 * parameters * tokens

    if isinstance(given, DeviceHoursBudget):
        return laws.Budget("device_hours", given.value, laws.device_hours(rate))
    if isinstance(given, DeadlineBudget):
        spend = laws.wall_clock_hours(rate, float(given.devices))
        return laws.Budget("deadline_hours", given.hours, spend)
    if isinstance(given, UsdBudget):
        day = prices.day_of(None, snapshot)
        found = prices.price(
            snapshot, given.pricing, accelerator.name, day, ledger, "/budget/pricing"
        )
        if found is None or not found.usd_per_device_hour:
            detail = "a budget in money needs a price above 0; send pricing.usd_per_device_hour"
            raise at("unknown-price", "/budget/pricing", detail)
        spend = laws.per_device_hour(rate, found.usd_per_device_hour)
        return laws.Budget("usd", given.value, spend)
    each = _kgco2e_per_hour(given, accelerator, utilization, snapshot, ledger)
    return laws.Budget("kgco2e", given.value, laws.per_device_hour(rate, each))


def _utilization(given: OnDevices, ledger: Ledger) -> Interval:
    typical = energy.typical_utilization()
    if given.utilization is not None:
        return Interval(given.utilization, given.utilization, given.utilization)
    source = "model-FLOPs utilisation of published runs"
    ledger.assume("/budget/utilization", typical.value, "calibration", source)
    return typical


def _kgco2e_per_hour(
    given: CarbonBudget,
    accelerator: Accelerator,
    utilization: Interval,
    snapshot: Snapshot,
    ledger: Ledger,
) -> float:
    """Operational and embodied emissions of one device-hour."""
    place = places.place(snapshot, given.site, ledger, "/budget")
    hour = Interval(1.0, 1.0, 1.0)
    envelope = energy.power_envelope(
        accelerator.name, accelerator.tdp_watts, accelerator.idle_watts
    )
    used = energy.training_energy(
        hour, envelope, utilization, energy.power_slope(FORMAT), place.pue
    )
    low, central, high = accelerator.embodied_kgco2e
    made = embodied_kgco2e(1.0, Interval(central, low, high), SERVER_SHARE_KGCO2E)
    return float(used.total_kwh.value * place.grid / 1e3 + made.value)


def _optimum(solution: laws.Solution) -> OptimumSection:
    best = solution.optimum
    return OptimumSection(
        parameters=predicted(best.parameters),
        tokens=predicted(best.tokens),
        loss=maybe(best.loss),
        flops=float(best.flops),
        tokens_per_parameter=float(best.tokens_per_parameter),
        interval_basis=best.basis,
        decades_outside_fit=float(best.decades_outside),
        spent=float(solution.spent),
        limited_by=str(solution.limited_by),
    )


def _law_section(found: laws.LawAnswer) -> LawAnswerSection:
    return LawAnswerSection(
        law=found.law,
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        flops=float(found.flops),
        loss=finite(found.loss),
        tokens_per_parameter=float(found.tokens_per_parameter),
        comparable=found.comparable,
        warnings=list(found.warnings),
    )


def _returns(flops: float, law: laws.Law) -> dict[str, Any]:
    """Basin, marginal gains and the iso-FLOP curve; only laws with a loss have them."""
    if not isinstance(law.form, laws.Additive):
        return {"basin": [], "marginal": None, "curve": None}
    size, tokens = law.form.optimum(flops)
    gain = laws.marginal(size, tokens, law)
    curve = laws.isoflop_curve(flops, law)
    assert curve.loss is not None
    return {
        "basin": [
            BasinSection(
                size_factor=point.size_factor,
                parameters=point.parameters,
                tokens=finite(point.tokens),
                extra_compute=finite(point.overhead),
                loss_increase=point.loss_increase,
            )
            for point in laws.basin(flops, law)
        ],
        "marginal": MarginalSection(
            doubling_parameters=gain.doubling_parameters,
            doubling_tokens=gain.doubling_tokens,
            doubling_compute=gain.doubling_compute,
        ),
        "curve": CurveSection(
            flops=flops,
            parameters=curve.parameters.tolist(),
            tokens=curve.tokens.tolist(),
            loss=curve.loss.tolist(),
        ),
    }


def _lifetime(
    request: ComputeOptimalRequest, best: laws.Optimum, law: laws.Law, ledger: Ledger
) -> LifetimeSection | None:
    if request.inference_tokens is None:
        return None
    if best.loss is None or not isinstance(law.form, laws.Additive):
        ledger.warn("lifetime-unknown", f"{law.name} gives no loss, so no size for its lifetime")
        return None
    found = lifetime_flops(best.loss.value, request.inference_tokens, law)
    return LifetimeSection(
        inference_tokens=request.inference_tokens,
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        training_flops=float(found.training),
        inference_flops=float(found.inference),
        loss=float(found.loss),
        saving=float(found.saving),
    )


def _repeated(
    request: ComputeOptimalRequest, flops: float, ledger: Ledger
) -> RepeatedSection | None:
    if request.unique_tokens is None:
        return None
    found = repeated_optimum(flops, request.unique_tokens)
    if found.epochs > 1.0:
        ledger.warn("repeats-data", laws.WARNINGS["repeats_data"])
    return RepeatedSection(
        unique_tokens=request.unique_tokens,
        epochs=float(found.epochs),
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        loss=float(found.loss),
        law=REPEATED_LAW,
    )
