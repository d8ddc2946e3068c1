"""The sections of /compute-optimal that a request asks for by an option."""

from __future__ import annotations

from service.api.compute_optimal_models import (
    LargestSection,
    LifetimeCostSection,
    LifetimeSection,
    MixtureSection,
    ModelSection,
    OpinionSection,
    PrecisionSection,
    RepeatedSection,
)
from service.api.compute_optimal_requests import (
    ComputeOptimalRequest,
    LargestOption,
    MixtureOption,
    ModelOption,
    PrecisionOption,
)
from service.api.mapping import finite, predicted
from service.api.optimising_budgets import Runs
from service.api.resolve import sized_serving
from service.api.resolve.ledger import Ledger
from service.core import scaling_laws as laws
from service.core.scaling_laws import mixtures, precision, repeated, sizing
from service.core.scaling_laws.lifetime import lifetime_flops, lifetime_spend
from service.core.scaling_laws.returns import Spend


def lifetime(loss: float, tokens: float, law: laws.Law) -> LifetimeSection:
    """The size with the fewest FLOPs of training and serving together."""
    found = lifetime_flops(loss, tokens, law)
    return LifetimeSection(
        inference_tokens=tokens,
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        training_flops=float(found.training),
        inference_flops=float(found.inference),
        loss=float(found.loss),
        saving=float(found.saving),
        token_factor=float(found.token_factor),
        optimal_parameters=float(found.optimal_parameters),
        optimal_tokens=float(found.optimal_tokens),
    )


def lifetime_cost(
    loss: float, tokens: float, law: laws.Law, runs: Runs, ledger: Ledger
) -> LifetimeCostSection | None:
    """The size that costs least to train and to serve; None where it cannot be priced."""
    train, price = runs.usd, runs.usd_per_hour
    if train is None or price is None:
        return None

    def serve(parameters: float, served: float) -> float:
        seconds = sized_serving.serving_seconds(parameters, runs.accelerator)
        return served * seconds / 3600.0 * price if seconds else laws.INFINITE

    found = lifetime_spend(loss, tokens, train, serve, law)
    if finite(found.total) is None or finite(found.optimal_total) is None:
        ledger.warn("lifetime-unserved", "no node of these devices trains and serves such sizes")
        return None
    ledger.assume(
        "/inference_tokens",
        sized_serving.CONCURRENCY,
        "default",
        "served in bf16 by vLLM, so many sequences of 1,024 prompt and 256 output tokens at once",
    )
    return LifetimeCostSection(
        inference_tokens=tokens,
        parameters=found.parameters,
        tokens=found.tokens,
        loss=found.loss,
        training_usd=found.training,
        inference_usd=found.inference,
        total_usd=found.total,
        saving=found.saving,
        optimal_parameters=found.optimal_parameters,
        optimal_total_usd=found.optimal_total,
    )


def repeats(flops: float, unique: float, ledger: Ledger) -> RepeatedSection:
    """The size when the data runs out."""
    found = repeated.repeated_optimum(flops, unique)
    if found.epochs > 1.0:
        ledger.warn("repeats-data", laws.WARNINGS["repeats_data"])
    return RepeatedSection(
        unique_tokens=unique,
        epochs=float(found.epochs),
        parameters=float(found.parameters),
        tokens=float(found.tokens),
        loss=float(found.loss),
        effective_tokens=float(found.effective_tokens),
        effective_parameters=float(found.effective_parameters),
        unlimited_loss=float(found.unlimited_loss),
        law=repeated.REPEATED_LAW,
    )


def model(
    option: ModelOption, best: laws.Optimum, law: laws.Law, unique: float | None
) -> ModelSection:
    """A size of the caller's own, judged under every law."""
    size = option.parameters
    tokens = option.tokens or float(best.flops) / laws.training_flops(size, 1.0)
    found = sizing.verdict(size, tokens, law)
    factor = size / float(found.optimum.parameters.value)
    lost = None
    token_factor, extra = None, None
    if isinstance(law.form, laws.Additive):
        token_factor, extra = laws.size_overhead(factor, law)
        lost = found.loss - law.form.frontier_loss(found.flops)
    return ModelSection(
        parameters=size,
        tokens=tokens,
        flops=found.flops,
        tokens_per_parameter=found.tokens_per_parameter,
        loss=finite(law.form.loss(size, tokens)),
        loss_increase=lost,
        size_factor=factor,
        token_factor=finite(token_factor),
        extra_compute=finite(extra),
        verdict=found.verdict,
        factor=found.factor,
        wasted_flops=finite(found.wasted_flops),
        wasted_fraction=finite(found.wasted_fraction),
        payback_tokens=finite(found.payback_tokens),
        opinions=_opinions(size, tokens),
        effective_tokens=None if unique is None else repeated.effective_tokens(tokens, unique),
        repeated_loss=None if unique is None else repeated.repeated_loss(size, tokens, unique),
    )


def _opinions(size: float, tokens: float) -> list[OpinionSection]:
    return [
        OpinionSection(
            law=opinion.law,
            verdict=opinion.verdict,
            factor=opinion.factor,
            loss=finite(laws.LAWS[opinion.law].form.loss(size, tokens)),
            comparable=opinion.comparable,
        )
        for opinion in laws.opinions(size, tokens)
    ]


def largest(option: LargestOption, value: float, spend: Spend, law: laws.Law) -> LargestSection:
    """The largest model that a budget trains. Raises BudgetError."""
    size = float(laws.largest_parameters(value, spend, option.tokens, option.tokens_per_parameter))
    tokens = option.tokens or size * (option.tokens_per_parameter or 1.0)
    return LargestSection(
        parameters=size,
        tokens=tokens,
        spent=float(spend(size, tokens)),
        loss=finite(law.form.loss(size, tokens)),
    )


def mixture(option: MixtureOption, active: float, tokens: float) -> MixtureSection:
    """What the published trends say of a mixture with these active parameters."""
    expansion = option.expansion or option.experts / option.active_experts
    total = active * expansion
    sparsity = 1.0 - option.active_experts / option.experts
    trend = mixtures.mixture_trend(
        total, active, option.experts, option.active_experts, tokens, option.granularity
    )
    assert trend.abnar_loss is not None
    assert trend.krajewski_loss is not None
    best = mixtures.abnar_optimum(laws.training_flops(active, tokens), sparsity)
    ratio = option.experts / option.active_experts
    return MixtureSection(
        active_parameters=active,
        total_parameters=total,
        tokens=tokens,
        sparsity=sparsity,
        dense_equivalent=predicted(trend.dense_equivalent),
        clark_loss={name: mixtures.clark_loss(active, ratio, name) for name in mixtures.CLARK},
        abnar_loss=trend.abnar_loss,
        abnar_parameters=best[0],
        abnar_tokens=best[1],
        krajewski_loss=trend.krajewski_loss,
        krajewski_dense_loss=mixtures.krajewski_dense_loss(active, tokens),
        warnings=list(trend.warnings),
    )


def low_precision(option: PrecisionOption, size: float, tokens: float) -> PrecisionSection:
    """What low precision costs, as a direction."""
    bits = (option.weight_bits, option.activation_bits, option.kv_cache_bits)
    after = option.inference_weight_bits
    plain = precision.KUMAR.loss(size, tokens)
    return PrecisionSection(
        effective_parameters=precision.precision_parameters(size, *bits),
        loss_increase=precision.low_precision_loss(size, tokens, *bits) - plain,
        quantisation_loss=None
        if after is None
        else precision.quantisation_loss(size, tokens, after),
        warnings=list(precision.PRECISION_WARNINGS),
    )


def sections(
    request: ComputeOptimalRequest, best: laws.Optimum, law: laws.Law, ledger: Ledger
) -> dict[str, ModelSection | MixtureSection | PrecisionSection | RepeatedSection | None]:
    """The sections of options that need no devices."""
    unique, asked = request.unique_tokens, request.model
    option, bits = request.mixture, request.precision
    size, tokens = float(best.parameters.value), float(best.tokens.value)
    judged = None if asked is None else model(asked, best, law, unique)
    if judged is not None:
        size, tokens = judged.parameters, judged.tokens
    return {
        "model": judged,
        "repeated": None if unique is None else repeats(float(best.flops), unique, ledger),
        "mixture": None if option is None else mixture(option, size, tokens),
        "precision": None if bits is None else low_precision(bits, size, tokens),
    }
