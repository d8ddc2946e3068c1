"""Partial pooling of the serving coefficients: a ridge regression in logits and logarithms.

Blocks of offsets are added up: common, engine, engine's kernels for a class of formats, generation
of accelerators, pair of accelerator and engine. Each block has a prior of its own width, so that
what the rows do not tell stays near the level above. Solved by Gauss-Newton steps with pseudo-Huber
weights; a row's derivatives by the coefficients are taken once and spread over the blocks that it
uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.calibration.serving_rows import QUANTITIES, Row, predicted
from service.core.serving.calibration import FITTED, SHARES, engine_of
from service.core.stacking import stack

Array = NDArray[np.float64]


class Prior(NamedTuple):
    """What is assumed of a coefficient before any row: a value and standard deviations.

    Those of its common value and of the offsets, in logits for shares, logarithms for seconds.
    """

    value: float
    common: float
    engine: float
    kernels: float
    generation: float
    pair: float


PRIOR: Mapping[str, Prior] = {
    "bandwidth_efficiency": Prior(0.75, 0.6, 0.6, 0.5, 0.5, 0.38),
    "cache_efficiency": Prior(0.5, 0.8, 0.8, 0.3, 0.5, 0.38),
    "compute_efficiency": Prior(0.5, 0.7, 0.6, 0.8, 0.5, 0.38),
    "expert_efficiency": Prior(0.6, 0.8, 0.5, 0.3, 0.3, 0.22),
    "attention_efficiency": Prior(0.3, 0.7, 0.6, 0.2, 0.4, 0.3),
    "link_efficiency": Prior(0.5, 0.8, 0.7, 0.05, 0.5, 0.38),
    "overlap": Prior(0.5, 0.8, 0.8, 0.05, 0.3, 0.22),
    "pipelining": Prior(0.5, 0.8, 0.6, 0.05, 0.5, 0.38),
    "stage_cost": Prior(0.08, 0.7, 0.5, 0.05, 0.3, 0.22),
    "layer_seconds": Prior(50e-6, 0.6, 1.0, 0.3, 0.3, 0.22),
    "launch_seconds": Prior(12e-6, 0.4, 0.1, 0.6, 0.3, 0.22),
    "tensor_layer_seconds": Prior(15e-6, 0.6, 0.5, 0.05, 0.3, 0.22),
    "dealing_cost": Prior(0.2, 0.6, 0.5, 0.05, 0.3, 0.22),
    "sequence_seconds": Prior(15e-6, 0.8, 0.7, 0.05, 0.3, 0.22),
    "step_seconds": Prior(500e-6, 0.6, 0.6, 0.05, 0.3, 0.22),
}
"""Shares: the published range of Pope et al. 2022 (arXiv 2211.05102, section 4); seconds: launches
of a few microseconds, ten or so a layer; `launch_seconds` is that of training steps under PyTorch's
modules (`throughput_fit`)."""
NOISE: Mapping[str, float] = {"decode": 0.08, "prefill": 0.2, "request": 0.1, "saturated": 0.12}
"""Log standard deviation of a measured row by quantity."""
MINIMUM_ROWS = 3
"""Rows that a pair or an engine's kernels need before they have coefficients of their own."""
_STEP = 1e-4
_WIDTH = len(FITTED)


def centre() -> Array:
    """The prior's central values as a vector of logits and logarithms."""
    values = np.array([PRIOR[name].value for name in FITTED])
    shares = np.arange(_WIDTH) < len(SHARES)
    return np.where(shares, np.log(values / np.where(shares, 1.0 - values, 1.0)), np.log(values))


class Pool:
    """The blocks that a set of rows can inform, and their fit."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.engines = _known([row.engine for row in rows], 1)
        self.kernels = _known([row.kernels for row in rows], MINIMUM_ROWS)
        self.generations = _known([row.generation for row in rows], MINIMUM_ROWS)
        self.pairs = _known([row.pair for row in rows], MINIMUM_ROWS)
        blocks = ([""], self.engines, self.kernels, self.generations, self.pairs)
        self.keys = [(level, key) for level, keys in enumerate(blocks) for key in keys]
        levels = [level for level, _ in self.keys]
        self.index = {key: place for place, key in enumerate(self.keys)}
        spread = np.array([PRIOR[name][1:] for name in FITTED]).T
        self.precision = 1.0 / spread[levels] ** 2

    def places(self, row: Row) -> list[int]:
        """The blocks that a row uses."""
        wanted = [(0, ""), (1, row.engine), (2, row.kernels), (3, row.generation), (4, row.pair)]
        return [self.index[key] for key in wanted if key in self.index]

    def level(self, row: Row) -> str:
        """What is known of a row's pair: `pair`, `engine` or `none`."""
        if row.pair in self.pairs:
            return "pair"
        return "engine" if row.engine in self.engines else "none"

    def fit(self, start: Mapping[tuple[int, str], Array] | None = None) -> Array:
        """The most probable blocks, shape `[blocks, coefficients]`."""
        begin = start or {}
        blocks = np.array([begin.get(key, np.zeros(_WIDTH)) for key in self.keys])
        problem = _Problem(self)
        value, damping = problem.objective(blocks), 1e-3
        for _ in range(400):
            gradient, hessian = problem.system(blocks)
            hessian[np.diag_indices_from(hessian)] *= 1.0 + damping
            step = arrow_solve(hessian, -gradient, len(self.pairs)).reshape(blocks.shape)
            tried = problem.objective(blocks + step)
            if tried >= value:
                damping *= 10.0
                if damping > 1e6:
                    break
                continue
            done = value - tried < 1e-6 * value
            blocks, value, damping = blocks + step, tried, max(damping / 5.0, 1e-7)
            if done:
                break
        return blocks

    def vectors(self, blocks: Array, rows: Sequence[Row]) -> Array:
        """Each row's coefficients as logits and logarithms, shape `[rows, coefficients]`."""
        return np.array([centre() + blocks[self.places(row)].sum(axis=0) for row in rows])


def arrow_solve(matrix: Array, right: Array, pairs: int) -> Array:
    """Solves a system whose last `pairs` blocks are coupled to the first ones only.

    A row knows one pair, so pairs do not meet: they are eliminated block by block (Schur).
    """
    head = len(matrix) - pairs * _WIDTH
    top, edge = matrix[:head, :head], matrix[:head, head:]
    edges = edge.reshape(head, pairs, _WIDTH).transpose(1, 2, 0)
    tail = matrix[head:, head:].reshape(pairs, _WIDTH, pairs, _WIDTH)
    diagonal = tail[np.arange(pairs), :, np.arange(pairs), :]
    rest = right[head:].reshape(pairs, _WIDTH, 1)
    solved = np.linalg.solve(diagonal, np.concatenate([edges, rest], axis=2))
    inner, alone = solved[:, :, :head].reshape(-1, head), solved[:, :, head].ravel()
    first = np.linalg.solve(top - edge @ inner, right[:head] - edge @ alone)
    return np.concatenate([first, alone - inner @ first])


def _known(keys: Sequence[str], minimum: int) -> list[str]:
    names, counts = np.unique(keys, return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count >= minimum]


class Stacked:
    """Rows as columns, so that one call predicts them all."""

    def __init__(self, rows: Sequence[Row]) -> None:
        names = list(QUANTITIES.values())
        self.tables = stack([row.table for row in rows])
        self.replicas = stack([row.replica for row in rows])
        self.devices = stack([row.device for row in rows])
        self.quantity = np.array([names.index(row.quantity) for row in rows])
        self.eager = np.array([row.eager for row in rows])
        self.observed = np.log([row.observed for row in rows])

    def errors(self, vectors: Array) -> Array:
        """log(predicted / observed) of each row."""
        engine = engine_of(vectors.T, self.eager)
        found = predicted(self.tables, self.replicas, self.devices, engine, self.quantity)
        return np.asarray(np.log(found) - self.observed)


class _Problem:
    """The objective: pseudo-Huber of the scaled errors plus the priors."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.stacked = Stacked(pool.rows)
        self.noise = np.array([NOISE[row.quantity] for row in pool.rows])
        members: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(pool.rows):
            members.setdefault(tuple(pool.places(row)), []).append(number)
        self.groups = [(list(places), np.array(rows)) for places, rows in members.items()]
        """Rows that use the same blocks: their derivatives are summed before they are spread."""

    def vectors(self, blocks: Array) -> Array:
        found = np.empty((len(self.noise), _WIDTH))
        for places, rows in self.groups:
            found[rows] = centre() + blocks[places].sum(axis=0)
        return found

    def objective(self, blocks: Array) -> float:
        errors = self.stacked.errors(self.vectors(blocks)) / self.noise
        robust = 2.0 * (np.sqrt(1.0 + errors**2) - 1.0)
        return float(robust.sum() + (self.pool.precision * blocks**2).sum())

    def system(self, blocks: Array) -> tuple[Array, Array]:
        """Gradient and Gauss-Newton matrix of half the objective."""
        vectors = self.vectors(blocks)
        base = self.stacked.errors(vectors)
        moved = [self.stacked.errors(vectors + _STEP * unit) for unit in np.eye(_WIDTH)]
        slopes = (np.stack(moved, axis=1) - base[:, None]) / _STEP / self.noise[:, None]
        scaled = base / self.noise
        weights = 1.0 / np.sqrt(1.0 + scaled**2)
        count = len(blocks)
        gradient = self.pool.precision * blocks
        hessian = np.zeros((count, _WIDTH, count, _WIDTH))
        for places, rows in self.groups:
            weighted = weights[rows, None] * slopes[rows]
            gradient[places] += weighted.T @ scaled[rows]
            square = weighted.T @ slopes[rows]
            for i in places:
                for j in places:
                    hessian[i, :, j, :] += square
        flat = hessian.reshape(count * _WIDTH, -1)
        flat[np.diag_indices_from(flat)] += self.pool.precision.ravel()
        return gradient.ravel(), flat
