from __future__ import annotations

import numpy as np

from service.calibration.backtest import recorded
from service.calibration.serving import SOURCE, pair_and_what_was_left_out
from service.calibration.serving_pool import Pool, Stacked, arrow_solve, centre
from service.calibration.serving_rows import rows
from service.core.serving.calibration import FITTED, engine_of

WIDTH = len(FITTED)


def test_an_arrow_system_is_solved_as_the_whole_one() -> None:
    random = np.random.default_rng(7)
    head, pairs = 2 * WIDTH, 3
    size = head + pairs * WIDTH
    factor = random.normal(size=(size, size))
    matrix = factor @ factor.T + size * np.eye(size)
    for i in range(pairs):
        for j in range(pairs):
            if i != j:
                a, b = head + i * WIDTH, head + j * WIDTH
                matrix[a : a + WIDTH, b : b + WIDTH] = 0.0
    right = random.normal(size=size)
    np.testing.assert_allclose(
        arrow_solve(matrix, right, pairs), np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-12
    )


def test_rows_without_blocks_of_their_own_take_the_level_above() -> None:
    fitted = [row for row in rows() if row.use == "fit"]
    pool = Pool([row for row in fitted if row.accelerator != "rtx-3090"])
    left = next(row for row in fitted if row.accelerator == "rtx-3090")
    blocks = np.arange(len(pool.keys), dtype=float)[:, None] * np.ones(WIDTH)
    engine = pool.index[1, "llama.cpp"]
    kernels = pool.index[2, left.kernels]
    group = pool.index[3, "ampere-graphics"]
    assert pool.level(left) == "engine"
    known = centre() + engine + kernels + group
    np.testing.assert_allclose(pool.vectors(blocks, [left])[0], known)


def test_the_prior_alone_is_physical() -> None:
    found = engine_of(centre(), 0.0)
    assert 0.7 < found.bandwidth_efficiency < 0.8
    assert 1e-5 < found.layer_seconds < 1e-4


def test_a_fit_of_few_rows_moves_towards_them() -> None:
    few = [r for r in rows() if r.pair == "rtx-3090 llama.cpp" and r.quantity == "decode"]
    pool = Pool(few[:12])
    blocks = pool.fit()

    prior = np.broadcast_to(centre(), (12, WIDTH))
    before = np.abs(Stacked(pool.rows).errors(np.array(prior)))
    after = np.abs(Stacked(pool.rows).errors(pool.vectors(blocks, pool.rows)))
    assert after.mean() < 0.5 * before.mean()
    assert after.mean() < 0.05


def test_a_row_of_the_back_test_names_its_pair_and_what_was_left_out() -> None:
    served = [row for row in recorded() if row.source.startswith(SOURCE)]
    groups = {pair_and_what_was_left_out(row) for row in served}
    assert {"h100-sxm, vllm: engine left out", "h100-sxm, vllm: accelerator left out"} <= groups
