"""A scaling law: a form with constants, what its N, D and C mean, where it was fitted, its source.

Warnings are short codes; `WARNINGS` holds the sentence for each.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log10
from typing import Literal

import numpy as np

from service.core.numeric import FloatArray, Number
from service.core.scaling_laws.forms import Additive, Form, KaplanFrontier

ParametersKind = Literal["total", "non_embedding", "flops_per_token"]
Standing = Literal["default", "current", "superseded", "trend_only"]

WARNINGS = {
    "below_compute": "the budget lies below the budgets that the law was fitted on",
    "beyond_compute": "the budget lies above the budgets that the law was fitted on",
    "below_parameters": "the model is smaller than any that the law was fitted on",
    "beyond_parameters": "the model is larger than any that the law was fitted on",
    "below_ratio": "fewer tokens a parameter than in the runs that the law was fitted on",
    "beyond_ratio": "more tokens a parameter than in the runs that the law was fitted on: such "
    "laws overstate what very long training gains (Sardana 2023, table 1)",
    "repeats_data": "more tokens than are unique: data is repeated",
    "relative_only": "losses belong to the law's own data and tokenizer and compare sizes; they "
    "do not predict the loss on other data",
    "non_embedding": "the law counts parameters and compute without embeddings; its size is "
    "converted to a total (Pearce & Song 2024), its compute is not",
    "flops_per_token": "the law sizes models by non-embedding FLOPs a token; the parameters are a "
    "sixth of them, which holds when attention over the context is a small part",
    "superseded": "later work corrected this law: kept for history and comparison",
    "rounded_constants": "the constants as printed, rounded: they give some 98 tokens a parameter "
    "at 1e24 FLOPs where the unrounded ones give 62 and the corrected fit 18",
    "early_stopped_fit": "the optimiser of this fit stopped early, and its published intervals are "
    "far too narrow (Besiroglu 2024)",
    "figure_constants": "the constants of the paper's figure 3; the rounded pair in its text does "
    "not give the size that the paper reports",
    "trend_only": "use the direction, not the number",
    "recalled_constants": "the constants were not read in the paper; they meet the authors' own "
    "published runs within four per cent",
    "young": "a young law, fitted on small models: its authors advise against using the constants",
    "few_runs": "fewer than 30 runs: five constants are hardly determined",
    "narrow_parameters": "sizes span less than a factor of 8",
    "narrow_tokens": "token counts span less than a factor of 8",
    "one_ratio": "tokens a parameter span less than a factor of 4: what size and what data "
    "contribute can hardly be told apart",
    "caller_constants": "constants given by the caller: no source, no fitted range",
}


@dataclass(frozen=True, slots=True)
class FittedRange:
    """Where the law was fitted, as (lowest, highest); None where the source does not say."""

    flops: tuple[float, float] | None = None
    parameters: tuple[float, float] | None = None
    tokens_per_parameter: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Law:
    """One scaling law.

    name: `author-year[-variant]`. comparable: total parameters, C = 6 N D and a dense model, so
    that its optimum may stand in a spread with others. listed: shown side by side; the variants of
    a law answer only by name. growth: the published interval of the exponent of N in C, with its
    level. samples: bootstrap refits of the constants.
    """

    name: str
    form: Form
    source: str
    checked: str
    data: str
    fitted: FittedRange = field(default_factory=FittedRange)
    parameters_kind: ParametersKind = "total"
    standing: Standing = "current"
    comparable: bool = False
    listed: bool = True
    notes: tuple[str, ...] = ()
    growth: tuple[float, float, float] | None = None
    samples: Callable[[], Additive] | None = None

    @property
    def parameters_definition(self) -> str:
        """What N counts, in words."""
        return {
            "total": "all parameters, embeddings included",
            "non_embedding": "parameters without embeddings",
            "flops_per_token": "non-embedding training FLOPs a token, divided by six",
        }[self.parameters_kind]

    @property
    def additive(self) -> Additive:
        """The form, where it is E + A/N^alpha + B/D^beta. Raises LawError where it is not."""
        if not isinstance(self.form, Additive):
            raise LawError(f"{self.name} has no loss of the form E + A/N^alpha + B/D^beta")
        return self.form

    def flops_for_loss(self, loss: Number) -> Number:
        """The budget that reaches a loss. Raises LawError where the law has no loss."""
        if not isinstance(self.form, Additive | KaplanFrontier):
            raise LawError(f"{self.name} gives no loss, so no budget for one")
        return self.form.flops_for_loss(loss)


class LawError(ValueError):
    """A law that is not known, or that cannot answer what is asked of it."""


def decades_outside(law: Law, flops: Number) -> Number:
    """How far a budget lies outside the fitted budgets, in powers of ten; 0 inside."""
    if law.fitted.flops is None:
        return 0.0 * flops
    low, high = law.fitted.flops
    if isinstance(flops, np.ndarray):
        above: FloatArray = np.log10(np.maximum(flops / high, 1.0))
        return above + np.log10(np.maximum(low / flops, 1.0))
    return log10(max(flops / high, low / flops, 1.0))


def range_warnings(law: Law, flops: Number, parameters: Number, tokens: Number) -> tuple[str, ...]:
    """The law's standing warnings and those of the point; for arrays, those of any element."""
    found = [*law.notes]
    fitted = law.fitted
    _outside(found, flops, fitted.flops, "compute")
    _outside(found, parameters, fitted.parameters, "parameters")
    _outside(found, tokens / parameters, fitted.tokens_per_parameter, "ratio")
    return tuple(found)


def _outside(
    found: list[str], value: Number, limits: tuple[float, float] | None, what: str
) -> None:
    if limits is None:
        return
    low, high = limits
    array = isinstance(value, np.ndarray)
    if value.min() < low if array else value < low:
        found.append(f"below_{what}")
    if value.max() > high if array else value > high:
        found.append(f"beyond_{what}")


def suggest(name: str, known: tuple[str, ...]) -> LawError:
    """The error for an unknown name, with the nearest known ones."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else f"; known: {', '.join(known)}"
    return LawError(f"unknown scaling law '{name}'{hint}")
