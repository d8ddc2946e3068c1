"""Training and serving together: the cheapest size for a quality and a demand in tokens.

Sardana et al. 2023 (arXiv 2401.00448): minimise 6 N D + 2 N T over N, with T the inference tokens
and D the training tokens that give N the wanted loss. In money the same, through callbacks that
price training and serving.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.core.numeric import Number, exp, log, where
from service.core.scaling_laws.forms import INFINITE, Additive
from service.core.scaling_laws.law import Law
from service.core.scaling_laws.laws import DEFAULT_LAW, find_law
from service.core.scaling_laws.optimum import training_flops
from service.core.scaling_laws.returns import Spend
from service.core.scaling_laws.roots import falling_root, least
from service.core.scaling_laws.sizing import FORWARD_FLOPS

Serve = Callable[[Number, Number], Number]
"""(parameters, inference tokens) -> what serving them costs, in the unit of the training Spend."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The size with the lowest lifetime cost, beside the compute-optimal one of the same loss.

    training, inference and total are in FLOPs, or in the unit of the callbacks. saving: the share
    of the compute-optimal model's lifetime cost that this one saves. token_factor: its training
    tokens over the compute-optimal model's.
    """

    parameters: Number
    tokens: Number
    loss: Number
    training: Number
    inference: Number
    total: Number
    saving: Number
    token_factor: Number
    optimal_parameters: Number
    optimal_tokens: Number
    optimal_total: Number


def lifetime_flops(
    loss: Number, inference_tokens: Number, law: str | Law = DEFAULT_LAW
) -> Lifetime:
    """The N and D of a loss with the fewest training and inference FLOPs together.

    First-order condition: (alpha A N^-alpha) / (beta B D^-beta) = 1 + T / 3D.
    """
    form = find_law(law).additive
    size, data = form.optimum_for_loss(loss)

    def slope(log_size: Number) -> Number:
        return _slope(form, exp(log_size), loss, inference_tokens)

    smallest = _smallest(form, loss)
    parameters = exp(falling_root(slope, log(smallest), log(size)))
    return _answer(
        form,
        loss,
        inference_tokens,
        (parameters, size, data),
        training_flops,
        lambda n, tokens: FORWARD_FLOPS * n * tokens,
    )


def lifetime_spend(
    loss: Number,
    inference_tokens: Number,
    train: Spend,
    serve: Serve,
    law: str | Law = DEFAULT_LAW,
) -> Lifetime:
    """The N and D of a loss with the lowest cost of training and serving, in the callbacks' unit.

    Searched over sizes, larger than the compute-optimal one too: what serves cheapest need not
    be the smallest.
    """
    form = find_law(law).additive
    size, data = form.optimum_for_loss(loss)

    def total(log_size: Number) -> Number:
        n = exp(log_size)
        tokens = form.tokens_for(n, loss)
        reachable = tokens < INFINITE
        cost = train(n, where(reachable, tokens, 1.0)) + serve(n, inference_tokens)
        return where(reachable, cost, INFINITE)

    floor = log(_smallest(form, loss))
    parameters = exp(least(total, floor, log(size) + 2.0, points=129))
    return _answer(form, loss, inference_tokens, (parameters, size, data), train, serve)


def _smallest(form: Additive, loss: Number) -> Number:
    """The size below which no number of tokens reaches the loss: A N^-alpha = L - E."""
    return form.parameters_for(INFINITE, loss) * (1.0 + 1e-9)


def _slope(form: Additive, size: Number, loss: Number, inference_tokens: Number) -> Number:
    """The first-order condition, positive below the cheapest size."""
    spent = form.parameter_coefficient * size**-form.parameter_exponent
    rest = loss - form.irreducible - spent
    tokens = form.tokens_for(size, loss)
    gain = form.parameter_exponent * spent / (form.token_exponent * rest)
    return gain - 1.0 - inference_tokens / (3.0 * tokens)


def _answer(
    form: Additive,
    loss: Number,
    inference_tokens: Number,
    sizes: tuple[Number, Number, Number],
    train: Spend,
    serve: Serve,
) -> Lifetime:
    parameters, optimal, optimal_tokens = sizes
    tokens = form.tokens_for(parameters, loss)
    training, inference = train(parameters, tokens), serve(parameters, inference_tokens)
    reference = train(optimal, optimal_tokens) + serve(optimal, inference_tokens)
    return Lifetime(
        parameters=parameters,
        tokens=tokens,
        loss=loss,
        training=training,
        inference=inference,
        total=training + inference,
        saving=1.0 - (training + inference) / reference,
        token_factor=tokens / optimal_tokens,
        optimal_parameters=optimal,
        optimal_tokens=optimal_tokens,
        optimal_total=reference,
    )
