"""Bytes and kernels of single operators, read off what each kernel reads and writes."""

from __future__ import annotations

import pytest

from service.core.architecture.operators import (
    Activation,
    Attention,
    Convolution,
    Dropout,
    Embedding,
    Linear,
    Norm,
    Operator,
    Pool,
    Rotary,
    Scan,
    Split,
)
from service.core.architecture.polynomial import TOKENS
from service.core.architecture.traffic import Choice, Moved, Passes, moved
from service.core.architecture.tree import Placed, Routing
from service.core.formats import formats
from service.core.parallelism import Kernels

W = 64.0
"""Elements of a position; two bytes each."""


def passes(operator: Operator, routing: Routing | None = None, **kernels: str) -> Passes:
    leaf = Placed(operator, ("part",), TOKENS, 1, 1.0, routing, False, 0, 1)
    chosen = Kernels(**kernels)
    return moved(leaf, Choice(chosen, formats(chosen)))


@pytest.mark.parametrize(
    ("operator", "forward", "backward"),
    [
        # in, out; then two gradients and the input again
        (Norm("norm", 64), Moved(whole=4 * W, kernels=1), Moved(whole=6 * W, kernels=2)),
        (
            Norm("norm", 64, "batch"),
            Moved(whole=3 * 2 * W, kernels=1),
            Moved(whole=5 * 2 * W, kernels=1),
        ),
        # gate, up, out; then both gradients beside them
        (
            Activation("act", 64, gated=True),
            Moved(tensor=3 * 2 * W, kernels=1),
            Moved(tensor=5 * 2 * W, kernels=1),
        ),
        (
            Activation("act", 64, "gelu"),
            Moved(tensor=2 * 2 * W, kernels=1),
            Moved(tensor=3 * 2 * W, kernels=1),
        ),
        # one byte of mask an element
        (Dropout("drop", 64, 0.1), Moved(whole=W, kernels=0), Moved(whole=W, kernels=1)),
        (Dropout("drop", 64, 0.0), Moved(), Moved()),
        (Rotary("rotary", 64), Moved(tensor=4 * W, kernels=2), Moved(tensor=4 * W, kernels=2)),
        (Embedding("table", 9, 64), Moved(whole=4 * W, kernels=2), Moved(whole=6 * W, kernels=2)),
        # four positions read for each one written
        (Pool("pool", 64, 4.0), Moved(whole=10 * W, kernels=1), Moved(whole=10 * W, kernels=1)),
        (
            Scan("scan", "mamba", 64, 0.0),
            Moved(tensor=12 * W, kernels=3),
            Moved(tensor=24 * W, kernels=6),
        ),
        (
            Convolution("conv", 64, 32, (3, 3), input_positions=4.0),
            Moved(io_whole=2 * (4 * W + 32), kernels=1),
            Moved(io_whole=4 * (4 * W + 32), kernels=2),
        ),
    ],
)
def test_fused_kernels_read_their_inputs_and_write_their_outputs_once(
    operator: Operator, forward: Moved, backward: Moved
) -> None:
    assert passes(operator) == Passes(forward, backward)


@pytest.mark.parametrize(
    ("split", "divided", "whole"),
    [("column", 2.0 * 32, 2.0 * 64), ("row", 2.0 * 64, 2.0 * 32), ("none", 0.0, 2.0 * 96)],
)
def test_a_product_moves_its_input_and_output_once_forward_and_twice_backward(
    split: str, divided: float, whole: float
) -> None:
    found = passes(Linear("product", 64, 32, split=split))
    residual = 3.0 * 2.0 * 32 if split == "row" else 0.0
    kernels = 2.0 if split == "row" else 1.0
    assert found.forward == Moved(divided, whole, whole=residual, kernels=kernels)
    assert found.backward == Moved(
        2.0 * divided, 2.0 * whole, whole=residual, kernels=kernels + 2.0
    )


def test_routed_outputs_are_gathered_and_logits_pass_through_the_loss() -> None:
    routed = passes(Linear("down", 64, 32, split="row"), Routing(8, 2.0))
    assert routed.forward.whole == routed.backward.whole == 4.0 * 2.0 * 32
    head = Linear("head", 64, 1000, split="column", head=True)
    assert passes(head).forward.tensor == 12.0 * 1000
    assert passes(head, implementation="modules").forward.tensor == 24.0 * 1000


def test_eight_bit_products_read_half_and_cast_their_inputs() -> None:
    wide = passes(Linear("product", 64, 32, split="column"))
    narrow = passes(Linear("product", 64, 32, split="column"), precision="fp8-mixed")
    assert narrow.forward.io_whole == wide.forward.io_whole / 2.0
    assert narrow.forward.whole - wide.forward.whole == 2.0 * 64
    assert narrow.backward.whole - wide.backward.whole == 2.0 * 32
    assert narrow.forward.kernels == wide.forward.kernels + 1.0


def test_flash_attention_moves_no_scores_and_eager_writes_them_out() -> None:
    grouped = Attention("attention", 8, 2, 16, 16)
    inputs = 2.0 * (8 + 2) * 32
    flash = passes(grouped, attention="flash")
    assert (flash.forward.tensor, flash.backward.tensor) == (inputs, 2.5 * inputs)
    assert flash.forward.pair == flash.backward.pair == 0.0
    eager = passes(grouped, attention="eager")
    assert (eager.forward.pair, eager.backward.pair) == (8 * 8.0, 8 * 12.0)


def test_modules_copy_16_bit_scores_to_fp32_for_their_softmax() -> None:
    def pairs(precision: str, **fields: float) -> tuple[float, float]:
        operator = Attention("attention", 1, 1, 16, 16, **fields)
        found = passes(operator, attention="eager", implementation="modules", precision=precision)
        return found.forward.pair, found.backward.pair

    assert pairs("bf16") == (16.0 + 10.0, 16.0 + 10.0)
    assert pairs("bf16", softmax_fp32=False) == (16.0, 16.0)
    assert pairs("fp32") == (32.0, 32.0)
    assert pairs("bf16", dropout=0.1) == (26.0 + 5.0, 26.0 + 5.0)


@pytest.mark.parametrize(
    ("operator", "forward", "kernels"),
    [
        (Norm("norm", 64), (8.0 + 4.0 + 20.0) * W, 6.0),
        (Rotary("rotary", 64), 22.0 * W, 10.0),
        (Activation("act", 64, "gelu_new"), 8 * 2.2 * 2.0 * W, 8.0),
        (Dropout("drop", 64, 0.1, Split.TENSOR), 5.0 * W, 1.0),
    ],
)
def test_modules_run_a_kernel_for_each_primitive(
    operator: Operator, forward: float, kernels: float
) -> None:
    found = passes(operator, implementation="modules").forward
    assert found.tensor + found.whole == pytest.approx(forward)
    assert found.kernels == kernels
