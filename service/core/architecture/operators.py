"""The operators that networks are made of: what weights they hold and what work they do.

An operator is described for ONE position of its stream (a token, a patch, a pixel); how many
positions there are, and how often the operator stands in the network, is the tree's to say.
FLOPs count a multiply-add as 2, and only matrix products, convolutions, attention and scans;
element-wise work is accounted as memory traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.core.architecture.polynomial import Stream


class Split(StrEnum):
    """How tensor parallelism divides a weight or an activation."""

    TENSOR = "tensor"
    """Divided by the tensor-parallel degree."""
    KEY_VALUE = "key_value"
    """Divided by the degree up to the number of key-value heads, replicated beyond it."""
    WHOLE = "whole"
    """On each rank in full (activations: divided only by sequence parallelism)."""


@dataclass(frozen=True)
class Weight:
    """One weight tensor."""

    name: str
    shape: tuple[int, ...]
    split: Split = Split.WHOLE
    alias: bool = False
    """Shares the storage of a tensor that is counted elsewhere (a tied head)."""
    matrix: bool = False
    """The matrix of a linear layer: what weight quantisation and LoRA apply to."""

    @property
    def elements(self) -> int:
        """The number of parameters, exactly."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Operator:
    """A leaf of the tree. Subclasses say what it holds and does."""

    name: str

    def weights(self) -> tuple[Weight, ...]:
        """The weight tensors of one instance."""
        return ()

    def flops(self) -> float:
        """Matrix FLOPs of the forward pass for one position of the stream."""
        return 0.0


@dataclass(frozen=True)
class Linear(Operator):
    """`y = x W^T + b`; x has `inputs` elements a position, y has `outputs`."""

    inputs: int
    outputs: int
    bias: bool = False
    split: str = "none"
    """`column` (outputs divided), `row` (inputs divided, all-reduce after), `none`."""
    key_value_heads: int | None = None
    """Set on key and value projections: the split stops at this many ways."""
    keeps_input: bool = True
    """False where a sibling already keeps the same input for the backward pass."""
    tied: bool = False
    """Uses an embedding's matrix instead of one of its own."""
    head: bool = False
    """The output projection on the vocabulary, whose result goes to the loss."""
    transposed: bool = False
    """The implementation stores `[inputs, outputs]` (GPT-2's Conv1D)."""
    adapter: str = ""
    """Number format of a trained low-rank matrix beside a frozen product (LoRA); empty for the
    network's own weights."""

    def weights(self) -> tuple[Weight, ...]:
        split = self._weight_split()
        matrix = Weight(
            "weight", (self.outputs, self.inputs), split, alias=self.tied, matrix=not self.tied
        )
        if not self.bias:
            return (matrix,)
        bias_split = split if self.split == "column" else Split.WHOLE
        return (matrix, Weight("bias", (self.outputs,), bias_split))

    def flops(self) -> float:
        return 2.0 * self.inputs * self.outputs

    def _weight_split(self) -> Split:
        if self.split == "none":
            return Split.WHOLE
        return Split.TENSOR if self.key_value_heads is None else Split.KEY_VALUE


@dataclass(frozen=True)
class Embedding(Operator):
    """A table of `rows` vectors of `width` elements; a look-up, not a product."""

    rows: int
    width: int
    split: Split = Split.WHOLE
    tied: bool = False
    """Shares another embedding's table."""
    input: bool = False
    """The token embedding (`input_embedding_params` in the counts)."""

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("weight", (self.rows, self.width), self.split, alias=self.tied),)


@dataclass(frozen=True)
class Parameter(Operator):
    """Free parameters without a product of their own: a class token, a gate, a scale."""

    shape: tuple[int, ...]
    split: Split = Split.WHOLE
    alias: bool = False

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("weight", self.shape, self.split, alias=self.alias),)


@dataclass(frozen=True)
class Norm(Operator):
    """A normalisation over `width` elements a position.

    `kind`: `rms` (computed in fp32, as transformers' RMSNorm modules do), `layer`, `batch`,
    `group`. `copies` independent normalisations share the stated weight (per-head norms).
    """

    width: int
    kind: str = "rms"
    weight: bool = True
    bias: bool = False
    copies: int = 1
    """How many vectors of `width` a position holds (heads, for query and key norms)."""
    split: Split = Split.WHOLE

    def weights(self) -> tuple[Weight, ...]:
        names = [name for name, held in (("weight", self.weight), ("bias", self.bias)) if held]
        return tuple(Weight(name, (self.width,)) for name in names)


@dataclass(frozen=True)
class Activation(Operator):
    """An element-wise function over `width` elements a position.

    `gated`: computes `f(gate) * up` from two inputs of `width` elements each. `kind` is the
    name of the function in the field (`silu`, `gelu`, `gelu_new`, `relu`, `relu2`, `tanh` ...).
    """

    width: int
    kind: str = "silu"
    gated: bool = False
    split: Split = Split.TENSOR


@dataclass(frozen=True)
class Dropout(Operator):
    """Dropout over `width` elements a position; free when the probability is 0."""

    width: int
    probability: float
    split: Split = Split.WHOLE


@dataclass(frozen=True)
class Rotary(Operator):
    """Rotary position embedding of queries and keys: `width` elements a position in all."""

    width: int


@dataclass(frozen=True)
class Attention(Operator):
    """Scaled dot-product attention: scores, softmax and the weighted sum of values.

    `keys`: the stream of keys and values when it is not the operator's own (cross attention).
    `window`: a sliding window in tokens: the last ones where causal, half of them on either side
    where not. `cache` says what decoding keeps for it.
    """

    heads: int
    key_value_heads: int
    key_dim: int
    value_dim: int
    causal: bool = True
    window: int | None = None
    keys: Stream | None = None
    dropout: float = 0.0
    latent_cache: int | None = None
    """Elements a token of a compressed cache that all heads share (DeepSeek's MLA)."""
    shares_cache: bool = False
    """Reuses the keys and values of an earlier layer (cross-layer sharing)."""
    softmax_fp32: bool = True
    """The eager implementation computes the softmax in fp32 and casts back."""
    sinks: bool = False
    """Adds one learned logit a head to the softmax (gpt-oss)."""

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("sinks", (self.heads,), Split.TENSOR),) if self.sinks else ()

    def pair_flops(self) -> float:
        """FLOPs for one (query, key) pair: the score and its share of the weighted sum."""
        return 2.0 * self.heads * (self.key_dim + self.value_dim)

    def cache_elements(self) -> float:
        """Elements of keys and values that decoding keeps for one token."""
        if self.shares_cache:
            return 0.0
        if self.latent_cache is not None:
            return float(self.latent_cache)
        return float(self.key_value_heads * (self.key_dim + self.value_dim))


@dataclass(frozen=True)
class Convolution(Operator):
    """A convolution over one, two or three axes; the stream counts OUTPUT positions.

    `kernel`: its sizes. `input_positions`: input positions for one output position (the product
    of the strides; a fraction for a transposed convolution).
    """

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    groups: int = 1
    bias: bool = True
    input_positions: float = 1.0
    keeps_input: bool = True
    split: Split = Split.WHOLE

    def weights(self) -> tuple[Weight, ...]:
        matrix = Weight(
            "weight", (self.outputs, self.inputs // self.groups, *self.kernel), self.split
        )
        return (matrix, Weight("bias", (self.outputs,), self.split)) if self.bias else (matrix,)

    def flops(self) -> float:
        area = 1.0
        for size in self.kernel:
            area *= size
        return 2.0 * area * (self.inputs // self.groups) * self.outputs


@dataclass(frozen=True)
class Pool(Operator):
    """A pooling to the stream's positions from `input_positions` times as many."""

    width: int
    input_positions: float = 1.0
    kind: str = "average"


@dataclass(frozen=True)
class Scan(Operator):
    """A recurrence over the sequence: a selective state-space scan, a linear attention.

    `kind`: `mamba`, `mamba2`, `rwkv`, `linear_attention`, `rglru`.
    `state_elements`: the recurrent state of one sequence, which implementations keep in fp32.
    `scan_flops`: matrix FLOPs a position. `width`: elements a position of its input and output.
    """

    kind: str
    width: int
    state_elements: float
    scan_flops: float = 0.0
    shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of the free parameters of the recurrence (A_log, D, dt_bias ...)."""
    conv_state: float = 0.0
    """Elements of one sequence that the convolution before it keeps, in the compute format."""

    def weights(self) -> tuple[Weight, ...]:
        return tuple(Weight(f"parameter{i}", s, Split.TENSOR) for i, s in enumerate(self.shapes))

    def flops(self) -> float:
        return self.scan_flops
