"""The kernel table and the curve that is fitted on it: power against utilisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
Floats = NDArray[np.float64]
FAMILIES: Final = ("16-bit", "8-bit", "4-bit")
AWAKE_SHARE: Final = 0.2
"""Power of a device that is awake with nothing to do, as a share of its limit."""
_FAMILY: Final = {"bfloat16": 0, "fp8": 1, "fp8_block": 1, "nvfp4": 2}


class Kernels:
    """The kernel table as columns: one entry a bin of utilisation, device and format."""

    def __init__(self, table: Sequence[Row]) -> None:
        self.table = np.array([row["source_file"] for row in table])
        self.family = np.array([_FAMILY[row["dtype"]] for row in table])
        self.utilization = _column(table, "mean_util")
        self.bandwidth = _column(table, "median_bw_frac")
        self.share = _column(table, "power_frac_p50")
        self.weight = np.minimum(np.sqrt(_column(table, "n")), 40.0) / 40.0
        self.names = [f"{row['gpu']} {row['dtype']} u={row['mean_util']}" for row in table]

    def predict(self, slopes: Floats, where: NDArray[np.bool_]) -> Floats:
        """Power shares by the curve with the given slopes (one a family, then bandwidth)."""
        load = slopes[self.family] * self.utilization + slopes[-1] * self.bandwidth
        shares: Floats = AWAKE_SHARE + (1.0 - AWAKE_SHARE) * (1.0 - np.exp(-load))
        return shares[where]

    def fit(self, where: NDArray[np.bool_]) -> Floats:
        """Slopes by weighted soft-L1 least squares over the bins chosen."""
        from scipy.optimize import least_squares

        def residuals(slopes: Floats) -> Floats:
            error: Floats = self.predict(slopes, where) - self.share[where]
            return self.weight[where] * error

        start = [3.0, 3.0, 3.0, 0.5]
        best = least_squares(residuals, start, bounds=(0.0, 30.0), loss="soft_l1", f_scale=0.1)
        solution: Floats = np.asarray(best.x, dtype=np.float64)
        return solution

    def residuals_left_out(self, where: NDArray[np.bool_]) -> Floats:
        """Observed minus predicted, each table by a fit on the others of those chosen."""
        parts = []
        for table in sorted(set(self.table[where])):
            own = where & (self.table == table)
            parts.append(self.share[own] - self.predict(self.fit(where & ~own), own))
        return np.concatenate(parts)


def _column(table: Sequence[Row], name: str) -> Floats:
    return np.array([float(row[name]) for row in table])
