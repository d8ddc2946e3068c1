"""Errors that other tools make about serving, each shown not to be made here."""

from __future__ import annotations

import pytest

from service.calibration import reference
from service.core import parameters, serving
from service.core.serving.tables import context_flops

GIB = 2**30


def test_a_tied_table_is_read_as_the_head_and_an_untied_one_is_only_looked_up() -> None:
    tied, untied = reference.network("llama-3.2-1b"), reference.network("llama-3.1-8b")
    assert serving.table(tied).step_bytes == pytest.approx(2 * parameters.count(tied).total)
    embedding = 128_256 * 4_096
    assert serving.table(untied).step_bytes == pytest.approx(
        2 * (parameters.count(untied).total - embedding)
    )


def test_a_causal_prompt_attends_to_half_of_its_square() -> None:
    """`2 L H h s^2` for queries with keys and scores with values together: half of `4`."""
    table, length = serving.table(reference.network("llama-3.1-8b")), 32_768.0
    assert table.prompt_pairs.at(length) == pytest.approx(2 * 32 * 4_096 * length**2, rel=1e-3)


def test_a_token_passes_through_its_experts_and_no_others() -> None:
    """Mixtral: two of eight experts of three matrices 4,096 by 14,336 in 32 layers."""
    table = serving.table(reference.network("mixtral-8x7b"))
    assert table.expert_flops == pytest.approx(2 * 2 * 3 * 4_096 * 14_336 * 32)


def test_a_full_window_costs_no_more_attention_for_a_longer_context() -> None:
    """Gemma 2 2B: every other of 26 layers sees 4,096 tokens at most; 8 heads of 256."""
    table = serving.table(reference.network("gemma-2-2b"))
    longer = context_flops(table, 16_384.0, 0.0) - context_flops(table, 8_192.0, 0.0)
    assert longer == pytest.approx(13 * 4 * 8 * 256 * 8_192)


def test_eighty_gigabytes_of_a_card_are_bytes_and_an_engine_gets_a_share_of_them() -> None:
    """An H100 reports 79.2 GiB, of which vLLM takes nine tenths."""
    found = serving.estimate(
        reference.network("llama-3.1-8b"), reference.accelerator("h100-sxm"), serving.ServingJob()
    )
    assert found.capacity_bytes / GIB == pytest.approx(0.9 * 79.2, rel=0.015)


def test_four_bits_leave_the_embedding_the_head_and_the_norms_at_sixteen() -> None:
    table = serving.table(reference.network("llama-3.1-8b"), "nf4")
    assert table.weights_bytes == pytest.approx(6.0e9, rel=0.015)
    assert table.weights_bytes > 2 * 2 * 128_256 * 4_096
