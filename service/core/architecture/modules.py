"""How transformers writes the modules of a family, where it matters for what autograd keeps.

The tree says what a network computes; two modules that compute the same may keep different
tensors. Source: transformers 5.23.0, `models/*/modeling_*.py`, each checked by tracing a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Traits(NamedTuple):
    """Deviations of a family's modules from the Llama line's."""

    norm: str = "llama"
    """How RMSNorm is written: `llama` multiplies the weight in the stream's precision, `gemma`
    in fp32, `t5` normalises without casting its input."""
    score_cap: bool = False
    """Attention scores pass a tanh."""
    logit_cap: bool = False
    """Logits pass a tanh."""
    logits_fp32: bool = True
    """The loss is computed on an fp32 copy of the logits."""
    twin_norms: bool = False
    """Both halves of a layer read the same stream through norms of their own."""

    contiguous_queries: bool = False
    """Queries are laid out head by head, and flash attention's output with them, so that the
    output projection makes a copy."""

    def norm_entry(self, width: float) -> float:
        """Bytes an element kept of an RMSNorm's input: its fp32 copy."""
        return 4.0 + (width if self.norm == "t5" and width < 4 else 0.0)

    def norm_product(self, width: float) -> float:
        """Bytes an element kept of the normalised stream, which the weight multiplies."""
        return 4.0 if self.norm == "gemma" else width


LLAMA_LINE = Traits()
_NARROW_LOSS = Traits(logits_fp32=False)

_TRAITS: Mapping[str, Traits] = {
    "gemma": Traits("gemma"),
    "gemma2": Traits("gemma", score_cap=True, logit_cap=True),
    "gemma3_text": Traits("gemma"),
    "gpt_neox": Traits(twin_norms=True),
    "litgpt": _NARROW_LOSS,
    "qwen": _NARROW_LOSS,
    "t5": Traits("t5", logits_fp32=False),
    "bart": _NARROW_LOSS,
    "bert": _NARROW_LOSS,
    "whisper": _NARROW_LOSS._replace(contiguous_queries=True),
}


def traits(model_type: str) -> Traits:
    """The traits of a `model_type`; the Llama line's where nothing else is known."""
    return _TRAITS.get(model_type, LLAMA_LINE)
