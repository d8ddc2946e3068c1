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
    in fp32, `t5` normalises without casting its input, `wide` casts before a LayerNorm,
    `cohere` writes a LayerNorm out in fp32."""
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

    written_out: bool = False
    """Knows no fused attention of PyTorch's: the scores are written out."""
    position_scores: float = 0.0
    """Further tensors of scores kept for relative positions, compute precision."""
    score_bias: float = 0.0
    """Tensors of biases, one number a pair and head, that a fused attention keeps."""
    gelu_copies: float = 0.0
    """Tensors that a GELU written out keeps beside its output; 0 for the built-in one."""
    copied_values: bool = False
    """Values out of a fused projection are copied rather than viewed."""
    windowed: str = ""
    """How attention within a window is written: in `blocks` as LongT5's, in `chunks` as
    Longformer's; else like any other, with a mask."""
    narrow_softmax: bool = False
    """Attention that writes its scores out takes the softmax in their own format."""

    def norm_entry(self, width: float) -> float:
        """Bytes an element kept of an RMSNorm's input: its fp32 copy."""
        return 4.0 + (width if self.norm == "t5" and width < 4 else 0.0)

    def layer_norm(self, width: float) -> float:
        """Bytes an element kept by a LayerNorm."""
        return {"wide": 4.0, "cohere": 12.0}.get(self.norm, width)

    def norm_product(self, width: float) -> float:
        """Bytes an element kept of the normalised stream, which the weight multiplies."""
        return 4.0 if self.norm == "gemma" else width


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


LLAMA_LINE = Traits()
_NARROW_LOSS = Traits(logits_fp32=False)

_TRAITS: Mapping[str, Traits] = {
    "gemma": Traits("gemma"),
    "gemma2": Traits("gemma", score_cap=True, logit_cap=True),
    "gemma3_text": Traits("gemma"),
    "vaultgemma": Traits("gemma", score_cap=True, logit_cap=True),
    "deberta": _NARROW_LOSS._replace(position_scores=2.0),
    "cohere": Traits("cohere"),
    "cohere2": Traits("cohere"),
    "beit": _NARROW_LOSS._replace(score_bias=1.0),
    "layoutlm": _NARROW_LOSS._replace(score_bias=1.0),
    "data2vec-vision": _NARROW_LOSS._replace(score_bias=1.0),
    "esm": _NARROW_LOSS._replace(gelu_copies=3.0),
    "swin": _NARROW_LOSS._replace(score_bias=0.5),
    "t5gemma": Traits("gemma", score_cap=True, logit_cap=True),
    "olmo": Traits(norm="wide"),
    "olmo2": Traits("gemma"),
    "olmo3": Traits("gemma"),
    "gpt_neox": Traits(twin_norms=True),
    "litgpt": _NARROW_LOSS._replace(copied_values=True),
    "qwen": _NARROW_LOSS,
    "t5": Traits("t5", logits_fp32=False),
    "whisper": _NARROW_LOSS._replace(contiguous_queries=True),
    "led": _NARROW_LOSS._replace(windowed="chunks"),
    "longformer": _NARROW_LOSS._replace(windowed="chunks"),
    "longt5": Traits("t5", logits_fp32=False, windowed="blocks"),
}


_NARROW_SOFTMAX = _named(
    """
    albert bart bert bert-generation big_bird biogpt blenderbot blenderbot-small camembert convbert
    ctrl data2vec-audio data2vec-text data2vec-vision deberta deberta-v2 dinov2 distilbert electra
    ernie esm falcon flaubert fsmt funnel gpt2 gpt_oss hubert ibert levit longt5 luke m2m_100 marian
    mbart megatron-bert mobilebert mobilevit mpnet mvp nllb-moe nomic_bert nystromformer openai-gpt
    pegasus plbart prophetnet pvt rembert roberta roberta-prelayernorm roc_bert roformer squeezebert
    swinv2 tapas trocr unispeech wav2vec2 wav2vec2-conformer wavlm whisper xlm xlm-roberta
    xlm-roberta-xl xlnet xmod yolos
    """
)

_WRITTEN_OUT = _named(
    """big_bird bigbird_pegasus bloom canine codegen convbert deberta deberta-v2 flaubert fsmt
    funnel gemma2 gpt_neo gpt_neox_japanese gpt_oss gptj ibert led levit longformer longt5 luke
    megatron-bert mpnet mpt mvp nllb-moe nystromformer openai-gpt pegasus_x prophetnet pvt rembert
    roformer splinter squeezebert swinv2 switch_transformers t5gemma vaultgemma vilt visual_bert
    wavlm xglm xlm xlnet"""
)

_ENCODER_DECODERS = _named(
    """bart blenderbot blenderbot-small led longt5 m2m_100 marian mbart mt5 mvp nllb-moe pegasus
    plbart prophetnet switch_transformers t5 trocr umt5 whisper"""
)
"""Their losses are taken in the format of the logits, as encoders' are."""


def traits(model_type: str, causal: bool = True) -> Traits:
    """The traits of a `model_type`; the Llama line's where nothing else is known.

    Encoders (not `causal`) take their losses in the format of the logits.
    """
    narrow = not causal or model_type in _ENCODER_DECODERS
    found = _TRAITS.get(model_type, _NARROW_LOSS if narrow else LLAMA_LINE)
    return found._replace(
        narrow_softmax=model_type in _NARROW_SOFTMAX, written_out=model_type in _WRITTEN_OUT
    )
