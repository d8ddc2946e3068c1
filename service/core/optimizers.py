"""What an optimizer keeps for each weight, and what it needs while it steps."""

from __future__ import annotations

from collections.abc import Mapping

from service.core.architecture.operators import Embedding, Linear, Weight
from service.core.architecture.tree import Placed
from service.core.formats import Formats

BLOCKWISE = 256
"""Elements that share one fp32 scale in bitsandbytes' 8-bit states."""
BLOCKWISE_MINIMUM = 4096
"""Tensors below this many elements keep 32-bit states in bitsandbytes."""

COPIES: Mapping[str, float] = {"adamw": 2.0, "lion": 1.0, "sgd": 0.0, "sgd-momentum": 1.0}
"""States of a parameter's size, where an optimizer keeps the same for each."""


def state_bytes(weight: Weight, leaf: Placed, optimizer: str, formats: Formats) -> float:
    """Bytes of optimizer state for one weight tensor, the fp32 master copy not counted.

    AdamW keeps two moments, Lion and SGD with momentum one, Muon one for hidden matrices and
    AdamW's two for the rest (Jordan et al. 2024), Adafactor one row and one column of second
    moments for each matrix (Shazeer & Stern 2018, arXiv 1804.04235, algorithm 4).
    """
    if optimizer == "adamw-8bit":
        return _eight_bit(weight)
    if optimizer == "adafactor":
        return _factored_elements(weight) * formats.state
    copies = COPIES.get(optimizer)
    if copies is None:
        copies = 1.0 if _is_hidden_matrix(weight, leaf) else 2.0
    return copies * weight.elements * formats.state


def _eight_bit(weight: Weight) -> float:
    if weight.elements < BLOCKWISE_MINIMUM:
        return 8.0 * weight.elements
    return 2.0 * weight.elements * (1.0 + 4.0 / BLOCKWISE)


def _factored_elements(weight: Weight) -> float:
    if len(weight.shape) < 2:
        return float(weight.elements)
    rows = weight.elements // weight.shape[-1]
    columns = weight.elements // weight.shape[-2]
    return float(rows + columns)


def _is_hidden_matrix(weight: Weight, leaf: Placed) -> bool:
    operator = leaf.operator
    if isinstance(operator, Embedding) or (isinstance(operator, Linear) and operator.head):
        return False
    return len(weight.shape) >= 2


def step_copies(optimizer: str, implementation: str) -> float:
    """Parameter-sized temporaries of a step, in copies of the trained parameters.

    PyTorch's default on accelerators (`foreach`) makes the square root of all second moments at
    once (AdamW), or the interpolated update (Lion's public implementation works tensor by
    tensor). The fused kernels of Apex and Transformer Engine make none. Source: torch 2.13.0,
    `torch/optim/adamw.py`, checked by the memory tracker.
    """
    return 1.0 if optimizer == "adamw" and implementation == "modules" else 0.0
