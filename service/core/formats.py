"""Bytes of an element by the precision of a training job, part by part."""

from __future__ import annotations

from typing import NamedTuple

from service.core.parallelism import Kernels


class Formats(NamedTuple):
    """Bytes an element under one precision."""

    compute: float
    """Inputs and outputs of matrix products."""
    residual: float
    """The stream between the blocks."""
    parameter: float
    gradient: float
    master: float
    """The fp32 copy that the optimizer updates; 0 where the parameters themselves are updated."""
    state: float
    """An optimizer state that follows the parameter's shape."""
    cached_weight: float
    """16-bit copies of the matrices that autocast makes and autograd holds until backward."""
    product_input: float
    """What a trained matrix product keeps of its input."""

    @property
    def autocast(self) -> bool:
        """fp32 weights under 16-bit compute, cast operator by operator."""
        return self.cached_weight > 0


def formats(kernels: Kernels) -> Formats:
    """The bytes an element of a job's precision.

    `*-mixed` is Megatron's and DeepSpeed's recipe (Rajbhandari et al. 2020, arXiv 1910.02054,
    section 3.1): 16-bit parameters, an fp32 master copy and fp32 states. Gradients are
    accumulated in fp32 (Megatron's default) or kept in 16 bits (the paper's count).
    """
    precision = kernels.precision
    if precision == "fp32":
        return Formats(4, 4, 4, 4, 0, 4, 0, 4)
    if precision in ("bf16", "fp16"):
        return Formats(2, 2, 2, 2, 0, 2, 0, 2)
    if precision.endswith("-autocast"):
        return Formats(2, 4, 4, 4, 0, 4, 2, 2)
    gradient = 4.0 if kernels.gradient_precision == "fp32" else 2.0
    product_input = 1.0 if precision.startswith("fp8") else 2.0
    return Formats(2, 2, 2, gradient, 4, 4, 0, product_input)
