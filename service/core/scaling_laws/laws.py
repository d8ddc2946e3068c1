"""The published scaling laws, as data. `checked` says how the constants were read.

"full text": in the paper or its authors' repository; "secondary": in at least two independent
texts that quote the paper's table or equation; "recalled": from memory, tested on published runs.
"""

from __future__ import annotations

import re

from service.core.scaling_laws.bootstrap import besiroglu_refits
from service.core.scaling_laws.forms import (
    PETAFLOP_DAY,
    Additive,
    KaplanFrontier,
    PowerFrontier,
    TabulatedFrontier,
)
from service.core.scaling_laws.law import FittedRange, Law, suggest

DEFAULT_LAW = "besiroglu-2024"

_CHINCHILLA = FittedRange((6e18, 3e21), (4.4e7, 1.6e10), (1.0, 300.0))
_MASSIVETEXT = "MassiveText, one epoch"
_HOFFMANN = "Hoffmann et al. 2022, arXiv 2203.15556"
_TABLE_PARAMETERS = (4e8, 1e9, 1e10, 6.7e10, 1.75e11, 2.8e11, 5.2e11, 1e12, 1e13)
_PORIAN = "Porian et al. 2024, arXiv 2406.19146"
_PORIAN_RANGE = FittedRange((1.25e16, 2.56e19), (5e6, 9.01e8))
_GADRE = "Gadre et al. 2024, arXiv 2403.08540"
_GADRE_RANGE = FittedRange(None, (1.1e7, 6.9e9), (5.0, 640.0))


def _gadre(variant: str, data: str, e: float, a: float, b: float, eta: float) -> Law:
    """L = E + (a M^eta + b M^-eta) C^-eta with M = D/N is additive: exponents 2 eta."""
    shrink = 6.0**-eta
    return Law(
        name=f"gadre-2024{variant}",
        form=Additive(e, a * shrink, b * shrink, 2.0 * eta, 2.0 * eta),
        source=f"{_GADRE}, equation 4; runs in mlfoundations/scaling",
        checked="recalled",
        data=f"trained on {data}, loss on C4",
        fitted=_GADRE_RANGE,
        standing="trend_only",
        listed=not variant,
        notes=("trend_only", "recalled_constants"),
    )


def _porian(variant: str, power: float, parameters: float, what: str) -> Law:
    return Law(
        name=f"porian-2024{variant}",
        form=PowerFrontier.through(5.88e23, parameters, power),
        source=f"{_PORIAN}: {what}",
        checked="secondary",
        data="RefinedWeb",
        fitted=_PORIAN_RANGE,
        standing="superseded" if variant else "current",
        listed=not variant,
        notes=("superseded",) if variant else (),
    )


_ALL = (
    Law(
        name="besiroglu-2024",
        form=Additive(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
        source="Besiroglu et al. 2024, arXiv 2404.10102; epoch-research/analyzing-chinchilla",
        checked="full text",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        standing="default",
        comparable=True,
        samples=besiroglu_refits,
    ),
    Law(
        name="hoffmann-2022-approach-1",
        form=TabulatedFrontier(
            (1.92e19, 1.21e20, 1.23e22, 5.76e23, 3.85e24, 9.90e24, 3.43e25, 1.27e26, 1.30e28),
            _TABLE_PARAMETERS,
            0.498,
        ),
        source=f"{_HOFFMANN}, tables 2 and 3: envelope of training curves",
        checked="full text",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        comparable=True,
        growth=(0.488, 0.502, 0.8),
    ),
    Law(
        name="hoffmann-2022-approach-2",
        form=TabulatedFrontier(
            (1.84e19, 1.20e20, 1.32e22, 6.88e23, 4.54e24, 1.18e25, 4.19e25, 1.59e26, 1.75e28),
            _TABLE_PARAMETERS,
            0.490,
        ),
        source=f"{_HOFFMANN}, tables 2 and A3: curves of equal compute",
        checked="full text",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        comparable=True,
        growth=(0.462, 0.534, 0.8),
    ),
    Law(
        name="hoffmann-2022-approach-3",
        form=Additive(1.69337368, 406.401018, 410.722827, 0.33917084, 0.2849083),
        source=f"{_HOFFMANN}, equation 10; unrounded constants of its TeX source",
        checked="full text",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        comparable=True,
        notes=("early_stopped_fit",),
    ),
    Law(
        name="hoffmann-2022-approach-3-rounded",
        form=Additive(1.69, 406.4, 410.7, 0.34, 0.28),
        source=f"{_HOFFMANN}, equation 10 as printed",
        checked="full text",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        standing="superseded",
        comparable=True,
        notes=("rounded_constants", "early_stopped_fit"),
    ),
    Law(
        name="sardana-2023",
        form=Additive(1.69, 406.4, 410.7, 0.336, 0.283),
        source="Sardana et al. 2023, arXiv 2401.00448: approach 3 of Hoffmann as they used it",
        checked="secondary",
        data=_MASSIVETEXT,
        fitted=_CHINCHILLA,
        comparable=True,
        notes=("early_stopped_fit",),
    ),
    Law(
        name="muennighoff-2023",
        form=Additive(1.86914368, 520.824952, 1487.716094, 0.3526596, 0.3526596),
        source="Muennighoff et al. 2023, arXiv 2305.16264; huggingface/datablations",
        checked="full text",
        data="C4, 1 to 500 epochs",
        fitted=FittedRange(None, (7e6, 9e9), None),
        comparable=True,
    ),
    Law(
        name="llama-3-2024",
        form=PowerFrontier.of_tokens(0.299, 0.537),
        source="Llama team 2024, arXiv 2407.21783, section 3.2.1, figure 3",
        checked="full text",
        data="Llama 3 pre-training mix",
        fitted=FittedRange((6e18, 1e22), (4e7, 1.6e10)),
        comparable=True,
        notes=("figure_constants",),
    ),
    Law(
        name="llama-3-2024-printed",
        form=PowerFrontier.of_tokens(0.29, 0.53),
        source="Llama team 2024, arXiv 2407.21783, section 3.2.1, the rounded pair of the text",
        checked="full text",
        data="Llama 3 pre-training mix",
        fitted=FittedRange((6e18, 1e22), (4e7, 1.6e10)),
        standing="superseded",
        listed=False,
        notes=("figure_constants",),
    ),
    Law(
        name="deepseek-2024",
        form=PowerFrontier(0.1715 / 6.0, 0.5243, 5.8316, 0.4757),
        source="DeepSeek-AI 2024, arXiv 2401.02954, equation 4",
        checked="secondary",
        data="DeepSeek's own, loss in bits a byte",
        fitted=FittedRange((1e17, 3e20)),
        parameters_kind="flops_per_token",
        notes=("flops_per_token",),
    ),
    Law(
        name="kaplan-2020",
        form=KaplanFrontier(
            line=PowerFrontier.through(PETAFLOP_DAY, 1.3e9, 0.73),
            loss_scale_flops=3.1e8 * PETAFLOP_DAY,
            loss_power=0.050,
            parameter_scale=6.4e13,
            token_scale=1.8e13,
            parameter_power=0.076,
            token_power=0.103,
        ),
        source="Kaplan et al. 2020, arXiv 2001.08361, equations 1.3, 1.5 and 6.1",
        checked="secondary",
        data="WebText2, context of 1,024",
        fitted=FittedRange(None, (768.0, 1.5e9)),
        parameters_kind="non_embedding",
        standing="superseded",
        notes=("superseded", "non_embedding"),
    ),
    _porian("", 0.497, 77e9, "counting, warm-up, schedule and hyper-parameters put right"),
    _porian("-decay", 0.571, 183e9, "cosine matched to the budget"),
    _porian("-warmup", 0.602, 292e9, "warm-up scaled with size"),
    _porian("-head", 0.706, 787e9, "FLOPs of the head counted"),
    _porian("-kaplan", 0.835, 3e12, "Kaplan's set-up"),
    _gadre("", "C4", 1.51, 141.0, 190.0, 0.121),
    _gadre("-redpajama", "RedPajama", 1.84, 212.0, 367.0, 0.136),
    _gadre("-refinedweb", "RefinedWeb", 1.73, 157.0, 246.0, 0.127),
)

LAWS: dict[str, Law] = {item.name: item for item in _ALL}
"""Every law by its name."""

ALIASES = {
    "default": DEFAULT_LAW,
    "epoch": DEFAULT_LAW,
    "epoch-default": DEFAULT_LAW,
    "besiroglu": DEFAULT_LAW,
    "chinchilla": "hoffmann-2022-approach-3",
    "hoffmann-2022": "hoffmann-2022-approach-3",
    "hoffmann-a1": "hoffmann-2022-approach-1",
    "hoffmann-a2": "hoffmann-2022-approach-2",
    "hoffmann-a3": "hoffmann-2022-approach-3",
    "hoffmann-tex": "hoffmann-2022-approach-3",
    "hoff-tex": "hoffmann-2022-approach-3",
    "hoffmann-a3-rounded": "hoffmann-2022-approach-3-rounded",
    "hoffmann-rounded": "hoffmann-2022-approach-3-rounded",
    "hoff-rounded": "hoffmann-2022-approach-3-rounded",
    "kaplan": "kaplan-2020",
    "sardana": "sardana-2023",
    "sardana-2024": "sardana-2023",
    "muennighoff": "muennighoff-2023",
    "data-constrained": "muennighoff-2023",
    "llama3": "llama-3-2024",
    "llama-3": "llama-3-2024",
    "deepseek": "deepseek-2024",
    "deepseek-llm": "deepseek-2024",
    "porian": "porian-2024",
    "gadre": "gadre-2024",
}
"""Other names that are understood."""


def find_law(name: str | Law) -> Law:
    """A law by its name or an alias; a law comes back as it is. Raises LawError, with the nearest.

    Case, underscores, spaces and brackets do not matter.
    """
    if isinstance(name, Law):
        return name
    found = LAWS.get(name)
    if found is not None:
        return found
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    found = LAWS.get(ALIASES.get(slug, slug))
    if found is None:
        raise suggest(name, tuple(LAWS))
    return found


def custom_law(
    irreducible: float,
    parameter_coefficient: float,
    token_coefficient: float,
    parameter_exponent: float,
    token_exponent: float,
    name: str = "custom",
) -> Law:
    """A caller's own E, A, B, alpha and beta as a law. All but E must be positive."""
    constants = (parameter_coefficient, token_coefficient, parameter_exponent, token_exponent)
    if irreducible < 0.0 or min(constants) <= 0.0:
        raise ValueError("A, B, alpha and beta must be positive, and E not negative")
    return Law(
        name=name,
        form=Additive(irreducible, *constants),
        source="the caller",
        checked="not checked",
        data="the caller's",
        notes=("caller_constants",),
    )
