"""A model's quality, served so often: the question of Sardana et al. 2023 (arXiv 2401.00448)."""

from __future__ import annotations

from service.core.numeric import Number
from service.core.scaling_laws import find_law
from service.core.scaling_laws.lifetime import Lifetime, lifetime_flops


def lifetime_of_model(parameters: Number, inference_tokens: Number, law: str) -> Lifetime:
    """The cheapest way to the quality that a model of this size has when trained optimally."""
    form = find_law(law).additive
    loss = form.frontier_loss(form.flops_for_parameters(parameters))
    return lifetime_flops(loss, inference_tokens, law)
