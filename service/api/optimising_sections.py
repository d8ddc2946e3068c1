"""From the scaling laws' answers to the sections of /compute-optimal that every request gets."""

from __future__ import annotations

from collections.abc import Sequence

from service.api.compute_optimal_models import (
    BasinSection,
    CurveSection,
    FrontierSection,
    HyperparametersSection,
    LawAnswerSection,
    MarginalSection,
    NextStepSection,
    OptimumSection,
    RunSection,
    SpreadSection,
)
from service.api.mapping import finite, maybe, predicted
from service.api.optimising_budgets import Runs
from service.api.resolve.ledger import Ledger
from service.core import scaling_laws as laws
from service.core.numeric import log
from service.core.scaling_laws import hyperparameters as deepseek
from service.core.uncertainty import Interval, product

_NUDGE = 1.01


def optimum(solution: laws.Solution, law: laws.Law, spent: Interval | None) -> OptimumSection:
    """The optimum; `spent`: the interval of what devices spend, as a ratio, where they do."""
    best = solution.optimum if spent is None else _on_devices(solution.optimum, law, spent)
    return OptimumSection(
        parameters=predicted(best.parameters),
        tokens=predicted(best.tokens),
        loss=maybe(best.loss),
        flops=float(best.flops),
        tokens_per_parameter=float(best.tokens_per_parameter),
        interval_basis=best.basis if spent is None else f"{best.basis} and step time",
        decades_outside_fit=float(best.decades_outside),
        flops_interval=None if spent is None else predicted(spent.inverse(best.flops)),
        perplexity=None if best.loss is None else predicted(_perplexity(best.loss)),
        spent=float(solution.spent),
        limited_by=str(solution.limited_by),
    )


def _perplexity(loss: Interval) -> Interval:
    return Interval(*(laws.perplexity(bound) for bound in loss))


def _on_devices(best: laws.Optimum, law: laws.Law, spent: Interval) -> laws.Optimum:
    """The intervals with that of the speed of the devices, which is independent of the law's.

    N grows as C^a near the optimum, and a budget buys FLOPs in inverse proportion to what they
    spend.
    """
    flops = spent.inverse(1.0)
    size, tokens = law.form.optimum(best.flops)
    more_size, more_tokens = law.form.optimum(best.flops * _NUDGE)
    growth = (log(more_size / size) / log(_NUDGE), log(more_tokens / tokens) / log(_NUDGE))
    reached = Interval(*(law.form.frontier_loss(best.flops * bound) for bound in flops))
    return laws.Optimum(
        parameters=product(best.parameters, _power(flops, growth[0])),
        tokens=product(best.tokens, _power(flops, growth[1])),
        loss=best.loss and product(best.loss, _falling(reached)),
        flops=best.flops,
        tokens_per_parameter=best.tokens_per_parameter,
        law=best.law,
        basis=best.basis,
        decades_outside=best.decades_outside,
        warnings=best.warnings,
    )


def _power(interval: Interval, exponent: float) -> Interval:
    return Interval(*(bound**exponent for bound in interval))


def _falling(losses: Interval) -> Interval:
    """Losses at a budget and its bounds, relative to the first; more budget, less loss."""
    value, at_low, at_high = losses
    return Interval(1.0, at_high / value, at_low / value)


def law_section(found: laws.LawAnswer) -> LawAnswerSection:
    """What one law says of the same budget, with its interval."""
    own = laws.optimum(found.flops, found.law)
    return LawAnswerSection(
        law=found.law,
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        flops=float(found.flops),
        loss=finite(found.loss),
        tokens_per_parameter=float(found.tokens_per_parameter),
        comparable=found.comparable,
        parameters_interval=predicted(own.parameters),
        interval_basis=own.basis,
        decades_outside_fit=float(found.decades_outside),
        warnings=list(found.warnings),
    )


def spread(best: OptimumSection, answers: Sequence[laws.LawAnswer]) -> SpreadSection:
    """The disagreement between the comparable laws about the same budget."""
    comparable = [answer for answer in answers if answer.comparable]
    sizes = _range(best.parameters.value, [a.parameters for a in comparable])
    tokens = _range(best.tokens.value, [a.tokens for a in comparable])
    own = best.parameters
    within = sizes.high / sizes.low <= own.high / own.low
    return SpreadSection(
        parameters=predicted(sizes),
        tokens=predicted(tokens),
        flops=predicted(_range(best.flops, [a.flops for a in comparable])),
        combined_parameters=predicted(_range(own.value, [*sizes, own.low, own.high])),
        combined_tokens=predicted(
            _range(tokens.value, [*tokens, best.tokens.low, best.tokens.high])
        ),
        laws=len(comparable),
        wider="own" if within else "between_laws",
    )


def _range(value: float, others: Sequence[float]) -> Interval:
    return Interval(value, min(value, *others), max(value, *others))


def run(best: laws.Optimum, runs: Runs, ledger: Ledger) -> RunSection | None:
    """The optimum's training on the devices; None, with a warning, where they do not hold it."""
    size, tokens = float(best.parameters.value), float(best.tokens.value)
    hours = runs.speed.hours_spread(size).times(runs.hours(size, tokens))
    if finite(hours.value) is None:
        ledger.warn("run-does-not-fit", "the devices hold no model of the optimum's size", "run")
        return None
    devices = runs.speed.devices(size)
    return RunSection(
        accelerator=runs.accelerator.name,
        devices=devices,
        model_flops_utilization=runs.speed.utilization(size),
        device_hours=predicted(hours),
        wall_clock_hours=None if devices is None else predicted(hours.times(1.0 / devices)),
        usd=None if runs.usd_per_hour is None else predicted(hours.times(runs.usd_per_hour)),
        kgco2e=predicted(runs.speed.kgco2e_spread(size).times(runs.kgco2e(size, tokens))),
    )


def basin(flops: float, law: laws.Law) -> list[BasinSection]:
    """What other sizes cost."""
    return [
        BasinSection(
            size_factor=point.size_factor,
            parameters=point.parameters,
            tokens=finite(point.tokens),
            extra_compute=finite(point.overhead),
            loss_increase=point.loss_increase,
        )
        for point in laws.basin(flops, law)
    ]


def marginal(flops: float, law: laws.Law) -> MarginalSection:
    """The loss that a doubling takes away."""
    gain = laws.marginal(*law.form.optimum(flops), law)
    return MarginalSection(
        doubling_parameters=gain.doubling_parameters,
        doubling_tokens=gain.doubling_tokens,
        doubling_compute=gain.doubling_compute,
    )


def curve(flops: float, law: laws.Law) -> CurveSection:
    """Loss against size at the same compute."""
    found = laws.isoflop_curve(flops, law)
    assert found.loss is not None
    return CurveSection(
        flops=flops,
        parameters=found.parameters.tolist(),
        tokens=found.tokens.tolist(),
        loss=found.loss.tolist(),
    )


def frontier(flops: float, law: laws.Law) -> FrontierSection:
    """The optimum of smaller and larger budgets."""
    found = laws.frontier(flops / 100.0, flops * 100.0, law)
    return FrontierSection(
        flops=found.flops.tolist(),
        parameters=found.parameters.tolist(),
        tokens=found.tokens.tolist(),
        loss=None if found.loss is None else found.loss.tolist(),
    )


def next_step(flops: float, law: laws.Law, runs: Runs | None, nats: float) -> NextStepSection:
    """The price of the next bit of loss, in FLOPs and in all that the devices spend."""
    size, tokens = law.form.optimum(flops)
    plain = laws.next_step(size, tokens, law, nats)
    spends = {} if runs is None else {"device_hours": runs.hours, "kgco2e": runs.kgco2e}
    if runs is not None and runs.usd is not None:
        spends["usd"] = runs.usd
    priced: dict[str, float | None] = {}
    for unit, spend in spends.items():
        found = laws.next_step(size, tokens, law, nats, spend)
        priced[f"longer_{unit}"] = finite(found.longer_spend)
        priced[f"optimal_{unit}"] = finite(found.optimal_spend)
    return NextStepSection(
        nats=nats,
        loss=plain.loss,
        perplexity=laws.perplexity(plain.loss),
        longer_tokens=finite(plain.longer_tokens),
        longer_flops=finite(plain.longer_flops),
        optimal_flops=finite(plain.optimal_flops),
        **priced,
    )


def hyperparameters(flops: float) -> HyperparametersSection:
    """Learning rate and batch."""
    low, high = deepseek.FITTED_FLOPS
    return HyperparametersSection(
        learning_rate=deepseek.learning_rate(flops),
        batch_tokens=deepseek.batch_tokens(flops),
        model_scale=deepseek.optimal_model_scale(flops),
        decades_outside_fit=max(log(flops / high), log(low / flops), 0.0) / log(10.0),
    )
